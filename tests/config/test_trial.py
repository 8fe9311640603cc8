import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inat.config.backbones import BackboneConfig
from inat.config.cnn import CNNConfig
from inat.config.optim import OptimConfig
from inat.config.trial import AUGMENTATION, DataConfig, TrialConfig, active_params
from inat.errors import ConfigError


def test_flat_params_round_trip(cnn_params):
    config = TrialConfig.from_params(cnn_params)
    assert config.model.conv_layers == 2
    assert config.optim.learning_rate == 1e-3
    assert TrialConfig.from_params(config.to_params()) == config


def test_field_names_are_unique_so_that_a_flat_dict_is_unambiguous():
    for model in (CNNConfig, BackboneConfig):
        names = [f.name for part in (DataConfig, model, OptimConfig, TrialConfig) for f in dataclasses.fields(part)]
        names.remove("data")  # the nested part and its own source field; from_params reads the latter
        assert len(names) == len(set(names))


BACKBONE = {
    "data": "photos", "backbone": "resnet50", "strategy": "freeze_all", "learning_rate": 1e-3, "batch_size": 8,
    "max_epochs": 1,
}  # fmt: skip


def test_flat_params_with_a_backbone_describe_a_pretrained_network():
    config = TrialConfig.from_params(BACKBONE | {"strategy": "freeze_partial", "k_layers": 2})
    assert (config.model.backbone, config.model.k_layers) == ("resnet50", 2)
    assert TrialConfig.from_params(config.to_params()) == config


WRONG = {
    "backbone": ("alexnet", "unknown backbone 'alexnet'; choose from googlenet, inception_v3, resnet50, vgg16, "),
    "strategy": (
        "half",
        "unknown strategy 'half'; choose from freeze_all, freeze_partial, unfreeze_all, lp_ft, lora, bitfit, norm_only",
    ),
    "weights": ("mine", "unknown weights 'mine'; choose from imagenet, none"),
    "body_lr_factor": (0.0, "body_lr_factor must be positive, got 0.0"),
    "views": (-1, "views must not be negative, got -1"),
    "max_feature_gb": (float("nan"), "max_feature_gb must be a finite number, got nan"),
}


@pytest.mark.parametrize("name", WRONG)
def test_each_bad_value_of_a_backbone_is_refused(name):
    value, message = WRONG[name]
    size = {"image_size": 64}  # an unknown backbone has no default
    with pytest.raises(ConfigError) as caught:
        TrialConfig.from_params(BACKBONE | size | {name: value})
    assert str(caught.value).startswith(message)
    assert len(caught.value.problems) == 1


def test_all_bad_values_of_a_backbone_are_in_one_error():
    wrong = {name: value for name, (value, _) in WRONG.items()}
    with pytest.raises(ConfigError) as caught:
        TrialConfig.from_params(BACKBONE | wrong | {"image_size": -3, "learning_rate": 0, "dropout": 0.1})
    for message in (*(message for _, message in WRONG.values()), "image_size", "learning_rate", "'dropout'"):
        assert message in str(caught.value)


@pytest.mark.parametrize("wrong", [None, 0, 6, -1])
def test_an_impossible_number_of_stages_is_refused_with_the_range(wrong):
    expected = f"k_layers must be in 1..5 for freeze_partial of resnet50, got {wrong}"
    with pytest.raises(ConfigError, match=expected):
        TrialConfig.from_params(BACKBONE | {"strategy": "freeze_partial", "k_layers": wrong})
    assert TrialConfig.from_params(BACKBONE | {"k_layers": wrong}).model.k_layers == wrong  # has no effect


def test_hyperparameters_without_effect_are_left_out():
    params = {"strategy": "freeze_all", "k_layers": 3, "learning_rate": 0.1}
    assert active_params(params) == {"strategy": "freeze_all", "learning_rate": 0.1}
    assert active_params(params | {"strategy": "freeze_partial"})["k_layers"] == 3
    assert active_params({"k_layers": 3}) == {"k_layers": 3}
    rates = {"body_lr_factor": 0.5, "layer_decay": 0.9, "lora_rank": 4, "probe_share": 0.5}
    names = {s: set(active_params(rates | {"strategy": s})) - {"strategy"} for s in ("freeze_all", "lora", "lp_ft")}
    body = {"body_lr_factor", "layer_decay"}
    assert names == {"freeze_all": set(), "lora": body | {"lora_rank"}, "lp_ft": body | {"probe_share"}}


def test_average_pooling_needs_no_dense_layer_and_a_step_schedule_no_warmup():
    params = {"num_neurons_dense": 64, "warmup_share": 0.1, "lr_gamma": 0.5, "light_augmentation": True}
    assert active_params(params) == {"num_neurons_dense": 64, "lr_gamma": 0.5, "light_augmentation": True}
    assert active_params(params | {"pooling": "average", "schedule": "cosine", "use_augmentation": False}) == {
        "warmup_share": 0.1, "pooling": "average", "schedule": "cosine", "use_augmentation": False,
    }  # fmt: skip


def test_the_published_training_is_the_default(cnn_params):
    """A checkpoint or a study that is older than some of the settings still describes the same training."""
    config = TrialConfig.from_params(cnn_params)
    assert (config.model.block, config.model.pooling, config.optim.schedule) == ("plain", "flatten", "step")
    off = ("weight_decay", "label_smoothing", "mixup_alpha", "cutmix_alpha", "random_erasing", "ema_decay")
    assert [getattr(config.optim, name) for name in off] == [0] * len(off)
    assert not config.data.light_augmentation


def test_the_settings_of_a_study_leave_out_every_hyperparameter_of_the_augmentation():
    data = DataConfig(data="photos", image_size=96, use_augmentation=True, light_augmentation=True, train_on_val=True)
    assert data.settings().keys() == {f.name for f in dataclasses.fields(data)} - {"use_augmentation", *AUGMENTATION}
    assert data.without_augmentation() == DataConfig(data="photos", image_size=96, train_on_val=True)


def test_cached_features_are_told_apart_by_the_augmentation():
    plain = DataConfig(data="photos", image_size=96, use_augmentation=True)
    assert plain.augmentation_key() == []  # as in studies from before light_augmentation existed
    assert dataclasses.replace(plain, light_augmentation=True).augmentation_key() == ["light"]


def test_only_flattening_needs_a_dense_layer(cnn_params):
    del cnn_params["num_neurons_dense"]
    with pytest.raises(ConfigError, match="num_neurons_dense must be positive, got 0"):
        TrialConfig.from_params(cnn_params)
    for pooling in ("average", "maximum"):
        assert TrialConfig.from_params(cnn_params | {"pooling": pooling}).model.num_neurons_dense == 0


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("block", "dense", "unknown block 'dense'; choose from plain, residual"),
        ("pooling", "max", "unknown pooling 'max'; choose from flatten, average, maximum"),
        ("schedule", "linear", "unknown schedule 'linear'; choose from step, cosine, trapezoid"),
        ("warmup_share", 1, r"warmup_share must be in \[0, 1\), got 1"),
        ("label_smoothing", -0.1, r"label_smoothing must be in \[0, 1\), got -0.1"),
        ("random_erasing", 1.5, r"random_erasing must be in \[0, 1\), got 1.5"),
        ("ema_decay", 1.0, r"ema_decay must be in \[0, 1\), got 1.0"),
        ("weight_decay", -1, "weight_decay must not be negative, got -1"),
        ("mixup_alpha", -0.2, "mixup_alpha must not be negative, got -0.2"),
        ("cutmix_alpha", float("nan"), "cutmix_alpha must be a finite number, got nan"),
        ("optimizer", "lion", "unknown optimizer 'lion'; choose from auto, adamw, sgd, muon"),
        ("layer_decay", 1.5, "layer_decay must be at most 1, got 1.5"),
        ("layer_decay", 0.0, "layer_decay must be positive, got 0.0"),
        ("grad_clip", -1.0, "grad_clip must not be negative, got -1.0"),
        ("accumulate", 0, "accumulate must be positive, got 0"),
        ("drop_path", 1.0, r"drop_path must be in \[0, 1\), got 1.0"),
        (
            "augmentation_policy",
            "heavy",
            "unknown augmentation_policy 'heavy'; choose from published, light, trivial, randaugment, shift",
        ),
        ("light_augmentation", 1, "light_augmentation must be True or False, got 1"),
    ],
)
def test_each_bad_value_of_a_newer_setting_is_refused(cnn_params, name, value, message):
    with pytest.raises(ConfigError, match=f"^{message}$"):
        TrialConfig.from_params(cnn_params | {name: value})


def test_every_mistake_is_in_one_error(cnn_params):
    wrong = cnn_params | {"learning_rate": -1, "activation": "tanh", "dropout": 1.5, "image_size": 0}
    with pytest.raises(ConfigError) as caught:
        TrialConfig.from_params(wrong)
    for part in ("learning_rate must be positive, got -1", "'tanh'", "relu, gelu, silu, mish", "dropout", "image_size"):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("num_neurons_dense", 32.0, "num_neurons_dense must be a whole number, got 32.0"),
        ("batch_size", 10**30, f"batch_size must be a number of up to 18 digits, got {10**30}"),
        ("conv_layers", True, "conv_layers must be a whole number, got True"),
        ("batch_size", 0.5, "batch_size must be a whole number, got 0.5"),
        ("batch_norm", "yes", "batch_norm must be True or False, got 'yes'"),
        ("use_augmentation", 1, "use_augmentation must be True or False, got 1"),
        ("learning_rate", "1e-3", "learning_rate must be a finite number, got '1e-3'"),
        ("learning_rate", float("inf"), "learning_rate must be a finite number, got inf"),
        ("filter_org", False, "filter_org must be a finite number, got False"),
        ("dropout", None, "dropout must be a finite number, got None"),
        ("activation", ["relu"], r"activation must be text, got \['relu'\]"),
        ("image_size", "16", "image_size must be a whole number, got '16'"),
        ("conv_layers", 30_000, r"conv_layers=30000 .* needs at least 2\*\*30000 px"),
    ],
)
def test_a_value_of_the_wrong_type_is_reported_with_its_name(cnn_params, name, value, message):
    with pytest.raises(ConfigError, match=f"^{message}") as caught:
        TrialConfig.from_params(cnn_params | {name: value})
    assert len(caught.value.problems) == 1


def test_an_int_is_accepted_for_a_float(cnn_params):
    assert TrialConfig.from_params(cnn_params | {"filter_org": 2, "dropout": 0}).model.filter_org == 2


def test_wrong_types_and_wrong_values_are_in_one_error(cnn_params):
    wrong = {"learning_rate": "fast", "batch_size": -1, "dropout": 2, "batch_norm": 0, "max_epochs": 3, 7: 1}
    with pytest.raises(ConfigError) as caught:
        TrialConfig.from_params(cnn_params | wrong)
    for name in ("learning_rate must be a", "batch_size must be positive", "dropout must be in", "batch_norm must be",
                 "unknown hyperparameter 7"):  # fmt: skip
        assert name in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"k_layers": "2"}, "k_layers must be a whole number or None, got '2'"),
        ({"backbone": ["resnet50"]}, r"backbone must be text, got \['resnet50'\]"),
        ({"strategy": 1}, "strategy must be text, got 1"),
        ({"views": 2.0}, "views must be a whole number, got 2.0"),
    ],
)
def test_wrong_types_of_a_backbone_are_reported(change, message):
    params = BACKBONE | {"strategy": "freeze_partial", "k_layers": 1, "image_size": 64} | change
    with pytest.raises(ConfigError, match=f"^{message}$"):
        TrialConfig.from_params(params)


def test_an_unknown_hyperparameter_is_reported_with_the_closest_name(cnn_params):
    with pytest.raises(ConfigError, match="unknown hyperparameter 'learning_rat'; did you mean 'learning_rate'"):
        TrialConfig.from_params(cnn_params | {"learning_rat": 1})


def test_the_mistakes_of_all_parts_stay_separate(cnn_params):
    wrong = {"learning_rat": 1, "image_size": 0, "activation": "tanh", "dropout": 2, "schedule": "linear"}
    with pytest.raises(ConfigError) as caught:
        TrialConfig.from_params(cnn_params | wrong)
    assert caught.value.problems == (
        "unknown hyperparameter 'learning_rat'; did you mean 'learning_rate'?",
        "image_size must be positive, got 0",
        "dropout must be in [0, 1), got 2",
        "unknown activation 'tanh'; choose from relu, gelu, silu, mish",
        "unknown schedule 'linear'; choose from step, cosine, trapezoid",
    )


def test_a_missing_hyperparameter_is_reported_with_its_name(cnn_params):
    del cnn_params["dropout"]
    with pytest.raises(ConfigError, match="dropout is missing"):
        TrialConfig.from_params(cnn_params)


def test_too_many_poolings_for_the_image_size_are_refused_with_both_numbers(cnn_params):
    with pytest.raises(ConfigError, match=r"conv_layers=5 .* at least 32 px, but image_size is 16"):
        TrialConfig.from_params(cnn_params | {"conv_layers": 5})


@given(first=st.sampled_from([8, 32, 64, 128]), org=st.sampled_from([0.5, 1, 2]), layers=st.integers(1, 12))
def test_the_number_of_filters_follows_the_rule_and_is_at_least_one(first: int, org: float, layers: int):
    config = CNNConfig(
        first_layer_filters=first, filter_org=org, conv_layers=layers, activation="relu", dropout=0.2,
        batch_norm=False, num_neurons_dense=8,
    )  # fmt: skip
    assert config.filters == tuple(max(1, int(first * org**i)) for i in range(layers))
    assert min(config.filters) >= 1


@pytest.mark.parametrize("epoch", [-1, 4])
def test_stop_epoch_must_be_one_of_the_epochs(cnn_params, epoch):
    with pytest.raises(ConfigError, match=r"stop_epoch must be in 0..3, got"):
        TrialConfig.from_params(cnn_params | {"stop_epoch": epoch})
