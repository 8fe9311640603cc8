import json

import pytest
from ray import tune

from inat.errors import ConfigError
from inat.options import SearchConfig
from inat.tuning.spaces import describe, scratch_space, small_space, space_of


def test_the_published_space():
    assert describe(scratch_space()) == {
        "first_layer_filters": [32, 64, 128],
        "filter_org": [0.5, 1, 2],
        "conv_layers": [3, 4, 5],
        "activation": ["relu", "gelu", "silu", "mish"],
        "dropout": [0.2, 0.3],
        "batch_norm": [True, False],
        "batch_size": [32, 64],
        "learning_rate": [1e-2, 1e-3, 1e-4],
        "use_augmentation": [True, False],
        "num_neurons_dense": [128, 256, 512],
    }
    json.dumps(describe(small_space()))


def test_ranges_are_described_too():
    space = {"weight_decay": tune.loguniform(1e-6, 1e-2), "depth": tune.randint(2, 6)}
    described = describe(space)
    assert described["weight_decay"] == {"low": 1e-6, "high": 1e-2, "scale": "loguniform"}
    assert (described["depth"]["low"], described["depth"]["high"]) == (2, 6)
    json.dumps(described)


def test_small_images_get_the_small_space_unless_asked_otherwise():
    assert SearchConfig(data="digits").resolved().space == "small"
    assert SearchConfig(image_size=33).resolved().space == "full"
    assert SearchConfig(data="digits", space="full").resolved().space == "full"
    changed = {name for name in scratch_space() if describe(scratch_space())[name] != describe(small_space())[name]}
    assert changed == {"first_layer_filters", "conv_layers", "num_neurons_dense"}


def test_a_space_whose_networks_do_not_fit_the_images_is_refused():
    with pytest.raises(ConfigError, match="conv_layers=5 .* at least 32 px, but image_size is 24"):
        space_of(SearchConfig(image_size=24, space="full"))
    assert space_of(SearchConfig(image_size=24))


OWN = """
from ray import tune

def space():
    return {
        "first_layer_filters": tune.randint(4, 17), "filter_org": 1, "conv_layers": 2, "activation": "relu",
        "dropout": tune.uniform(0.0, 0.5), "batch_norm": True, "num_neurons_dense": 32, "batch_size": 64,
        "learning_rate": tune.loguniform(1e-4, 1e-2), "use_augmentation": False, %s
    }
"""


def own_space(tmp_path, extra: str = "", text: str = OWN) -> dict:
    (tmp_path / "mine.py").write_text(text % extra if "%s" in text else text)
    return space_of(SearchConfig(data="digits", space=str(tmp_path / "mine.py")))


def test_a_file_brings_a_space_of_its_own(tmp_path):
    space = own_space(tmp_path)
    described = describe(space)
    assert described["first_layer_filters"]["high"] == 17
    assert described["activation"] == ["relu"]
    assert described["learning_rate"]["scale"] == "loguniform"


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ('"widht": tune.choice([1, 2]),', "unknown hyperparameter 'widht'"),
        ('"dropout": tune.uniform(0.2, 1.5),', r"dropout must be in \[0, 1\), got 1.5"),
        ('"dropout": tune.uniform(0.5, 0.5),', "dropout needs a lower end below its upper one, got 0.5 and 0.5"),
        ('"activation": tune.choice(["relu", "tanh"]),', "unknown activation 'tanh'; choose from"),
        ('"activation": tune.choice([]),', "activation has no choices"),
        ('"conv_layers": tune.randint(2, 8),', "conv_layers=7 halves the image 7 times"),
        ('"max_epochs": 3,', "max_epochs is an option of the search and cannot be a hyperparameter too"),
        ('"dropout": tune.sample_from(lambda spec: 0.1),', "dropout must be tune.choice, uniform, .* got Function"),
        ('"dropout": tune.uniform(-1, 2), "batch_size": 0,', "batch_size must be positive, got 0; dropout must be in"),
    ],
)
def test_mistakes_in_a_space_are_named_before_anything_starts(tmp_path, extra, message):
    with pytest.raises(ConfigError, match=message) as caught:
        own_space(tmp_path, extra)
    assert "mine.py" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1", r"has no function space\(\)"),
        ("def space(): return 3", "must return a dict of hyperparameters, got 3"),
        ("def space(): return {}", "must return a dict of hyperparameters, got {}"),
        ("import nowhere", r"cannot be used as a space \(ModuleNotFoundError"),
        ("def space(): return {'dropout': 0.1}", "learning_rate is missing"),
    ],
)
def test_files_that_are_no_space(tmp_path, text, message):
    with pytest.raises(ConfigError, match=message):
        own_space(tmp_path, text=text)
    with pytest.raises(ConfigError, match="gone.py cannot be used as a space"):
        space_of(SearchConfig(data="digits", space=str(tmp_path / "gone.py")))
