import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inat.config import CNNConfig, DataConfig, OptimConfig, TrialConfig
from inat.errors import ConfigError


def test_flat_params_round_trip(cnn_params):
    config = TrialConfig.from_params(cnn_params)
    assert config.model.conv_layers == 2
    assert config.optim.learning_rate == 1e-3
    assert TrialConfig.from_params(config.to_params()) == config


def test_field_names_are_unique_so_that_a_flat_dict_is_unambiguous():
    names = [f.name for part in (DataConfig, CNNConfig, OptimConfig, TrialConfig) for f in dataclasses.fields(part)]
    names.remove("data")  # the nested part and its own source field; from_params reads the latter
    assert len(names) == len(set(names))


def test_every_mistake_is_in_one_error(cnn_params):
    wrong = cnn_params | {"learning_rate": -1, "activation": "tanh", "dropout": 1.5, "image_size": 0}
    with pytest.raises(ConfigError) as caught:
        TrialConfig.from_params(wrong)
    for part in ("learning_rate must be positive, got -1", "'tanh'", "relu, gelu, silu, mish", "dropout", "image_size"):
        assert part in str(caught.value)


def test_unknown_hyperparameter_names_the_closest(cnn_params):
    with pytest.raises(ConfigError, match="unknown hyperparameter 'learning_rat'; did you mean 'learning_rate'"):
        TrialConfig.from_params(cnn_params | {"learning_rat": 1})


def test_missing_hyperparameter_is_named(cnn_params):
    del cnn_params["dropout"]
    with pytest.raises(ConfigError, match="dropout is missing"):
        TrialConfig.from_params(cnn_params)


def test_more_pools_than_pixels_is_refused_with_the_numbers(cnn_params):
    with pytest.raises(ConfigError, match=r"conv_layers=5 .* at least 32 px, but image_size is 16"):
        TrialConfig.from_params(cnn_params | {"conv_layers": 5})


@given(first=st.sampled_from([8, 32, 64, 128]), org=st.sampled_from([0.5, 1, 2]), layers=st.integers(1, 12))
def test_filters_follow_the_rule_and_never_vanish(first: int, org: float, layers: int):
    config = CNNConfig(
        first_layer_filters=first, filter_org=org, conv_layers=layers, activation="relu", dropout=0.2,
        batch_norm=False, num_neurons_dense=8,
    )  # fmt: skip
    assert config.filters == tuple(max(1, int(first * org**i)) for i in range(layers))
    assert min(config.filters) >= 1
