from hypothesis import given
from hypothesis import strategies as st

from inat.study.trial import short_name


def test_the_name_of_the_best_published_configuration():
    params = {
        "first_layer_filters": 128, "filter_org": 1, "conv_layers": 5, "activation": "gelu", "dropout": 0.3,
        "batch_norm": True, "batch_size": 64, "learning_rate": 1e-4, "use_augmentation": False,
        "num_neurons_dense": 512,
    }  # fmt: skip
    assert short_name(params) == "gelu-128f-x1-5L-d0.3-bn-b64-lr1e-4-noaug-fc512"


def test_newer_settings_are_in_the_name_unless_they_are_off():
    params = {
        "first_layer_filters": 24, "filter_org": 2, "conv_layers": 4, "activation": "gelu", "dropout": 0.0,
        "batch_norm": True, "block": "residual", "pooling": "average", "batch_size": 32, "learning_rate": 5e-3,
        "use_augmentation": True, "light_augmentation": True, "schedule": "cosine", "warmup_share": 0.1,
        "weight_decay": 0.05, "label_smoothing": 0.1, "mixup_alpha": 0.2, "cutmix_alpha": 1.0, "random_erasing": 0.25,
        "ema_decay": 0.99,
    }  # fmt: skip
    start = "gelu-24f-x2-4L-res-gap-d0-bn-b32-lr5e-3-aug"
    assert short_name(params) == f"{start}-light-cos-wu0.1-wd5e-2-ls0.1-mix0.2-cut1-re0.25-ema0.99"
    off = ("weight_decay", "label_smoothing", "mixup_alpha", "cutmix_alpha", "random_erasing", "ema_decay")
    params |= dict.fromkeys(off, 0.0) | {"light_augmentation": False}
    assert short_name(params) == f"{start}-cos-wu0.1"


def test_unknown_hyperparameters_are_written_out():
    assert short_name({"x": 0.12345678, "kind": "a"}) == "x=0.1235-kind=a"


@given(st.floats(1e-6, 1.0))
def test_learning_rates_keep_two_digits(rate: float):
    written = short_name({"learning_rate": rate})
    assert abs(float(written.removeprefix("lr")) - rate) <= 0.05 * rate + 1e-12
