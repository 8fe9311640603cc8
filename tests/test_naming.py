from hypothesis import given
from hypothesis import strategies as st

from inat.naming import short_name


def test_the_predecessors_best_configuration():
    params = {
        "first_layer_filters": 128, "filter_org": 1, "conv_layers": 5, "activation": "gelu", "dropout": 0.3,
        "batch_norm": True, "batch_size": 64, "learning_rate": 1e-4, "use_augmentation": False,
        "num_neurons_dense": 512,
    }  # fmt: skip
    assert short_name(params) == "gelu-128f-x1-5L-d0.3-bn-b64-lr1e-4-noaug-fc512"


def test_unknown_hyperparameters_are_spelt_out():
    assert short_name({"x": 0.12345678, "kind": "a"}) == "x=0.1235-kind=a"


@given(st.floats(1e-6, 1.0))
def test_learning_rates_keep_two_digits(rate: float):
    written = short_name({"learning_rate": rate})
    assert abs(float(written.removeprefix("lr")) - rate) <= 0.05 * rate + 1e-12
