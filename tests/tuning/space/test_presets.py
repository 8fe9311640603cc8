import json
from dataclasses import replace

import pytest
from ray import tune

from inat.config.search import SearchConfig
from inat.data.splits import inspect_data
from inat.errors import ConfigError, StudyError
from inat.tuning.space.domains import optuna_space
from inat.tuning.space.presets import (
    modern_space,
    recipe_of,
    scratch_space,
    small_space,
    space_from_json,
    space_of,
    space_to_json,
)
from inat.tuning.space.recipe_space import recipe_space
from inat.tuning.space.scratch_recipe import batch_size_for, scratch_recipe

RECIPE = scratch_recipe(image_size=32, images=10_000, classes=10, epochs=12)


def test_the_published_space():
    assert space_to_json(scratch_space()) == {
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
    json.dumps(space_to_json(small_space()))


def test_ranges_are_described_by_bounds_and_scale():
    space = {"weight_decay": tune.loguniform(1e-6, 1e-2), "depth": tune.randint(2, 6)}
    described = space_to_json(space)
    assert described["weight_decay"] == {"low": 1e-6, "high": 1e-2, "scale": "loguniform"}
    assert (described["depth"]["low"], described["depth"]["high"]) == (2, 6)
    json.dumps(described)


def test_small_images_get_the_small_space_by_default():
    assert SearchConfig(data="digits").resolved().space == "small"
    assert SearchConfig(image_size=33).resolved().space == "full"
    assert SearchConfig(data="digits", space="full").resolved().space == "full"
    changed = {
        name for name in scratch_space() if space_to_json(scratch_space())[name] != space_to_json(small_space())[name]
    }
    assert changed == {"first_layer_filters", "conv_layers", "num_neurons_dense"}


def test_the_modern_space_of_earlier_versions_stays_for_space_files():
    old, modern = space_to_json(scratch_space()), space_to_json(modern_space())
    assert old.keys() < modern.keys()
    assert modern["block"] == ["plain", "residual"]
    assert modern["pooling"] == ["flatten", "average", "maximum"]
    assert modern["schedule"] == ["step", "cosine"]
    for name in ("weight_decay", "label_smoothing", "mixup_alpha", "cutmix_alpha", "random_erasing", "ema_decay"):
        assert modern[name][0] == 0.0, name
        assert len(modern[name]) > 1
    json.dumps(modern)


def test_the_modern_space_lies_around_the_recipe_for_the_images():
    config = SearchConfig(data="digits", space="modern", max_epochs=12)
    data = inspect_data(config.data_config())
    recipe = recipe_of(config, data)
    images = round(0.8 * data.images)
    assert recipe == scratch_recipe(image_size=config.resolved_image_size, images=images, classes=10, epochs=12)
    assert space_to_json(space_of(config)) == space_to_json(recipe_space(recipe))
    many = replace(data, training=100 * data.training)
    assert space_to_json(space_of(config, many))["batch_size"] != space_to_json(space_of(config))["batch_size"]


def test_no_batch_of_the_modern_space_is_too_large_for_the_memory():
    config = SearchConfig(data="digits", image_size=128, space="modern", max_epochs=12)
    many = replace(inspect_data(config.data_config()), training=200_000)
    assert space_of(config, many)["batch_size"].categories == [128, 256]


def test_the_recipe_is_for_the_images_that_a_trial_trains_on():
    config = SearchConfig(data="digits", space="modern", max_epochs=12)
    data = replace(inspect_data(config.data_config()), images=40_000, training=30_000)
    assert recipe_of(config, data)["batch_size"] == batch_size_for(30_000, 12, config.resolved_image_size)


@pytest.mark.parametrize("space", [scratch_space(), small_space(8), modern_space(), recipe_space(RECIPE)])
def test_a_space_comes_back_from_json(space):
    described = json.loads(json.dumps(space_to_json(space)))
    assert space_to_json(space_from_json(described)) == described
    assert optuna_space(space_from_json(described)) == optuna_space(space)


STEPPED = {"a": tune.qrandint(8, 64, 8), "b": tune.quniform(0.0, 1.0, 0.25), "c": tune.lograndint(1, 9)}


def test_ranges_with_steps_come_back_from_json():
    described = json.loads(json.dumps(space_to_json(STEPPED)))
    assert space_to_json(space_from_json(described)) == described
    assert optuna_space(space_from_json(described)) == optuna_space(STEPPED)


@pytest.mark.parametrize("described", [
    3, None, [], [[1]], {"low": 1}, {"low": 1, "high": 2, "scale": "cubic"}, {"low": 1, "high": 2, "scale": []},
    {"low": -1.0, "high": 1.0, "scale": "loguniform"}, {"low": 0, "high": 9, "scale": "loguniform"},
    {"low": float("nan"), "high": 1.0, "scale": "uniform"}, {"low": 2.0, "high": 1.0, "scale": "uniform"},
    {"low": True, "high": 4, "scale": "uniform"}, {"low": "1", "high": 4, "scale": "uniform"},
    {"low": 1, "high": 4, "scale": "uniform", "quantum": 0}, {"low": 1, "high": 4, "scale": "uniform", "more": 2},
    {"low": 0.1, "high": 0.4, "scale": "loguniform", "quantum": 0.1}, {"low": 0.5, "high": 10**400, "scale": "uniform"},
])  # fmt: skip
def test_what_describes_no_values_is_refused(described):
    with pytest.raises(StudyError, match="the space in study.json cannot be used: .* restore the file from a copy"):
        space_from_json({"x": described})


def test_a_space_that_is_no_object_is_refused():
    with pytest.raises(StudyError, match="the space in study.json cannot be used: 3 describes no values"):
        space_of(SearchConfig(data="digits", space="modern"), stored=3)


def test_a_space_with_networks_too_deep_for_the_images_is_refused():
    with pytest.raises(ConfigError, match="conv_layers=5 .* at least 32 px, but image_size is 24"):
        space_of(SearchConfig(image_size=24, space="full"))
    assert space_of(SearchConfig(image_size=24))


OWN = """
import numpy as np
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


def test_a_python_file_defines_a_space(tmp_path):
    space = own_space(tmp_path)
    described = space_to_json(space)
    assert described["first_layer_filters"]["high"] == 17
    assert described["activation"] == ["relu"]
    assert described["learning_rate"]["scale"] == "loguniform"


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ('"widht": tune.choice([1, 2]),', "unknown hyperparameter 'widht'"),
        ('"dropout": tune.uniform(0.2, 1.5),', r"dropout must be in \[0, 1\), got 1.5"),
        ('"dropout": tune.uniform(0.5, 0.5),', "dropout needs a lower bound below its upper bound, got 0.5 and 0.5"),
        ('"activation": tune.choice(["relu", "tanh"]),', "unknown activation 'tanh'; choose from"),
        ('"activation": tune.choice(["tanh", "elu"]),', "'tanh'; choose from relu, .*'elu'; choose from relu, "),
        ('"activation": tune.choice([]),', "activation has no choices"),
        ('"conv_layers": tune.randint(2, 8),', "conv_layers=7 halves the image 7 times"),
        ('"max_epochs": 3,', "max_epochs is set by the search and cannot be a hyperparameter too"),
        ('"seed": tune.randint(0, 9), "fingerprint": "x",', "fingerprint, seed is set by the search and cannot be"),
        ('"threshold": 0.5, "trial_id": "t0",', "threshold, trial_id is set by the search and cannot be"),
        ('"model": "net.py", "model_file": "net.py",', "model, model_file is set by the search and cannot be"),
        ('"dropout": tune.sample_from(lambda spec: 0.1),', "dropout must be tune.choice, uniform, .* got Function"),
        ('"dropout": tune.uniform(-1, 2), "batch_size": 0,', "batch_size must be positive, got 0; dropout must be in"),
        ('"num_neurons_dense": tune.quniform(32, 128, 32),', "num_neurons_dense must be a whole number, got 32.0"),
        ('"conv_layers": tune.uniform(2, 4),', "conv_layers must be a whole number, got 2.0; .*, got 4.0"),
        ('"batch_size": tune.loguniform(16, 64),', "batch_size must be a whole number, got 16.0"),
        ('"conv_layers": tune.choice([2.5, 3]),', "conv_layers must be a whole number, got 2.5"),
        ('"batch_norm": tune.choice(["yes", "no"]),', "batch_norm must be True or False, got 'yes'; .*, got 'no'"),
        ('"learning_rate": tune.choice(["1e-3"]),', "learning_rate must be a finite number, got '1e-3'"),
        ('"dropout": tune.choice([None, 0.2]),', "dropout must be a finite number, got None"),
        ('"dropout": [0.1, 0.2],', r"dropout has \[0.1, 0.2\] as one value; write tune.choice\(\[...\]\)"),
        ('"dropout": np.linspace(0, 1, 9999),', "dropout has array"),
        ('"conv_layers": tune.choice([(2, 3)]),', r"conv_layers has \(2, 3\) as one value; write tune.choice"),
        (
            '"dropout": tune.grid_search([0.1, 0.2]),',
            "dropout is a tune.grid_search; write tune.choice, and --searcher grid",
        ),
        ("3: tune.choice([0.1, 0.2]),", "unknown hyperparameter 3; choose from"),
        ('"batch_size": tune.qlograndint(8, 64, 8),', "batch_size has steps of 8 on a log scale, which Optuna cannot"),
        ('"learning_rate": tune.qloguniform(0.1, 1, 0.1),', "learning_rate has steps of 0.1 on a log scale, which"),
        ('"dropout": tune.randn(0.2, 0.1),', "dropout needs finite numbers as its bounds, got -inf and inf"),
        ('"conv_layers": tune.randint(None, 3),', "conv_layers needs whole numbers as its bounds, got None and 3"),
        ('"conv_layers": tune.randint(2, 2.5),', "conv_layers needs whole numbers as its bounds, got 2 and 2.5"),
        ('"conv_layers": tune.qrandint(2, 6, 2),', "conv_layers=6 halves the image 6 times"),
        ('"dropout": tune.quniform(0, 1, 0.25),', r"dropout must be in \[0, 1\), got 1.0"),
    ],
)
def test_mistakes_in_a_space_are_named(tmp_path, extra, message):
    with pytest.raises(ConfigError, match=message) as caught:
        own_space(tmp_path, extra)
    assert "mine.py" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_change_of_steps_or_scale_changes_the_description():
    domains = [tune.quniform(0, 0.4, 0.1), tune.quniform(0, 0.4, 0.2), tune.uniform(0, 0.4), tune.loguniform(0.1, 0.4)]
    described = [space_to_json({"x": domain})["x"] for domain in domains]
    assert described[0] == {"low": 0, "high": 0.4, "scale": "uniform", "quantum": 0.1}
    assert [one == other for one in described for other in described].count(True) == len(domains)


def test_numpy_values_become_python_values(tmp_path):
    extra = """
        "conv_layers": tune.choice(np.arange(2, 5)), "batch_norm": np.True_, "dropout": np.float64(0.25),
        "first_layer_filters": tune.qrandint(np.int64(8), np.int64(32), np.int64(8)),
    """
    space = own_space(tmp_path, extra)
    described = space_to_json(space)
    assert json.loads(json.dumps(described)) == described
    assert described["conv_layers"] == [2, 3, 4]
    assert described["batch_norm"] == [True]
    assert described["first_layer_filters"] == {"low": 8, "high": 32, "scale": "uniform", "quantum": 8}
    kinds = {type(value) for name in ("conv_layers", "batch_norm", "dropout") for value in space[name].categories}
    assert kinds == {int, bool, float}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1", r"has no function space\(\)"),
        ("space = 1", r"has no function space\(\)"),
        ("import sys; sys.exit(0)", r"cannot be used as a space \(SystemExit: 0\); correct it"),
        ("def space(): return {}['width']", r"cannot be used as a space \(KeyError: 'width'\); correct it"),
        (
            "def space(): raise ValueError('two\\nlines')",
            r"as a space \(ValueError: two lines\); correct it",
        ),
        ("def space(): return 3", "must return a dict of hyperparameters, got 3"),
        ("def space(): return {}", "must return a dict of hyperparameters, got {}"),
        ("import nowhere", r"cannot be used as a space \(ModuleNotFoundError"),
        ("def space(): return {'dropout': 0.1}", "learning_rate is missing"),
    ],
)
def test_files_that_are_not_a_space_are_refused(tmp_path, text, message):
    with pytest.raises(ConfigError, match=message):
        own_space(tmp_path, text=text)
    with pytest.raises(ConfigError, match="gone.py cannot be used as a space"):
        space_of(SearchConfig(data="digits", space=str(tmp_path / "gone.py")))
