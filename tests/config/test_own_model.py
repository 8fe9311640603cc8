import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inat.config.finetune import FinetuneConfig
from inat.config.own_model import OwnModelConfig, absolute_model, read_model_file, split_model
from inat.config.search import SearchConfig
from inat.config.trial import OWN_LEARNING_RATE, TRAINING_NAMES, TrialConfig
from inat.errors import ConfigError
from inat.training.epoch_recorder import identity_of
from tests.own_networks import PLAIN, TRAINING, write_net

OWN = {"model": "my_net.py:build", "model_sha256": "0" * 64}
NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,12}", fullmatch=True).filter(
    lambda name: (
        name not in TRAINING_NAMES | OwnModelConfig.__dataclass_fields__.keys()
        and name not in TrialConfig.__dataclass_fields__
    )
)
VALUES = st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(max_size=9) | st.floats(-1e9, 1e9)


@pytest.mark.parametrize("kind", [SearchConfig, FinetuneConfig])
@pytest.mark.parametrize("text", ["my_net", "my_net.py:", "my_net.py:two words", "net.py:a.b", "folder:build", ""])
def test_a_text_that_names_no_function_of_a_python_file_is_refused(kind, text):
    with pytest.raises(ConfigError, match="names no function of a Python file; write my_net.py or my_net.py:function"):
        kind(data="digits", image_size=8, model=text)


def test_the_function_is_build_unless_another_is_named():
    assert split_model("a/my_net.py") == ("a/my_net.py", "build")
    assert split_model("a:b/my_net.py") == ("a:b/my_net.py", "build")
    assert split_model("my_net.py:Wide") == ("my_net.py", "Wide")


def test_a_relative_path_becomes_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert absolute_model("my_net.py:wide") == f"{tmp_path}/my_net.py:wide"
    assert SearchConfig(data="digits", model="my_net.py").resolved().model == f"{tmp_path}/my_net.py"


def test_a_file_is_read_with_its_hash(tmp_path):
    path = write_net(tmp_path, PLAIN)
    file = read_model_file(f"{path}:build")
    assert file.label == "my_net.py:build"
    assert file.sha256 == hashlib.sha256(PLAIN.encode()).hexdigest()


@pytest.mark.parametrize(("content", "message"), [
    (None, r"there is no file .*my_net.py; --model names a Python file with a function build\(\)"),
    (b"def build(:\n", "my_net.py, line 1, is no valid Python .invalid syntax.; correct it"),
    (b"a = 1\nb = '\n", "my_net.py, line 2, is no valid Python"),
    (b"a\0b", "my_net.py.* is no valid Python"),
    (b"#" * 10_000_001, "is larger than 10 MB"),
])  # fmt: skip
def test_a_file_that_cannot_be_used_is_one_sentence(tmp_path, content, message):
    if content is not None:
        (tmp_path / "my_net.py").write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        read_model_file(str(tmp_path / "my_net.py"))


def test_a_folder_is_no_file(tmp_path):
    (tmp_path / "my_net.py").mkdir()
    with pytest.raises(ConfigError, match="there is no file"):
        read_model_file(str(tmp_path / "my_net.py"))


@given(st.dictionaries(NAMES, VALUES, max_size=5))
def test_arguments_travel_through_the_flat_dict(arguments):
    config = TrialConfig.from_params(TRAINING | OWN | arguments)
    assert isinstance(config.model, OwnModelConfig)
    assert config.model.values() == arguments
    assert TrialConfig.from_params(config.to_params()) == config
    assert hash(config.model) == hash(TrialConfig.from_params(config.to_params()).model)


def test_an_argument_may_have_the_name_of_a_setting_of_the_cnn():
    config = TrialConfig.from_params(TRAINING | OWN | {"dropout": 0.5, "activation": "relu"})
    assert config.model.values() == {"dropout": 0.5, "activation": "relu"}


def test_a_training_without_learning_rate_has_that_of_adam():
    params = {name: value for name, value in TRAINING.items() if name != "learning_rate"}
    assert TrialConfig.from_params(params | OWN).optim.learning_rate == OWN_LEARNING_RATE
    with pytest.raises(ConfigError, match="learning_rate is missing"):
        TrialConfig.from_params(params | {"conv_layers": 2})


@pytest.mark.parametrize(("params", "message"), [
    ({"width": [1, 2]}, "width must be a number, text, True, False or None"),
    ({"width": float("nan")}, "width must be a number"),
    ({"batch_size": 0}, "batch_size must be positive"),
    ({"model": "my_net"}, "names no function"),
    ({"strategy": "thaw"}, "unknown strategy 'thaw'; choose from freeze_all, freeze_partial, unfreeze_all"),
    ({"strategy": "freeze_partial"}, "k_layers must be at least 1 for freeze_partial of my_net.py:build, got None"),
    ({"max_epochs": -1}, "max_epochs must be positive"),
])  # fmt: skip
def test_wrong_values_are_refused(params, message):
    with pytest.raises(ConfigError, match=message):
        TrialConfig.from_params(TRAINING | OWN | params)


def test_the_content_of_the_file_is_part_of_the_identity_of_a_training():
    one, other = (TrialConfig.from_params(TRAINING | OWN | {"model_sha256": digit * 64}) for digit in "01")
    assert identity_of(one) != identity_of(other)


def test_the_settings_of_trials_name_file_and_hash_but_no_folder(tmp_path):
    path = write_net(tmp_path, PLAIN)
    settings = SearchConfig(data="digits", model=str(path)).trial_settings()
    assert settings["model"] == "my_net.py:build"
    assert settings["model_sha256"] == hashlib.sha256(PLAIN.encode()).hexdigest()
    assert str(tmp_path) not in str({n: v for n, v in settings.items() if n not in ("data", "cache_dir")})


def test_options_about_backbones_are_refused_beside_the_network_of_the_user(tmp_path):
    for options in ({"backbones": ("resnet50",)}, {"weights": "none"}, {"weights_dir": tmp_path}):
        (name,) = options
        with pytest.raises(ConfigError, match=f"^{name} is about backbones and not about the network of --model"):
            FinetuneConfig(data="digits", image_size=32, model="my_net.py", **options)


def test_a_resumed_fine_tuning_of_the_users_network_has_the_same_options(tmp_path):
    config = FinetuneConfig(data="digits", model=str(write_net(tmp_path, PLAIN))).resolved()
    assert config.image_size == 224
    assert FinetuneConfig.from_json(config.to_json()) == config
