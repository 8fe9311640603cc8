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
