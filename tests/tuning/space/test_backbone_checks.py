from types import SimpleNamespace

import pytest

from inat.config.finetune import FinetuneConfig
from inat.errors import ConfigError
from inat.tuning.space.backbone_checks import check_backbones, image_forms
from inat.tuning.space.presets import space_of

DATA = SimpleNamespace(classes=("bird", "fish"))


def config_of(**changes) -> FinetuneConfig:
    return FinetuneConfig(**{"backbones": ("timm:test_convnext", "timm:test_vit"), "weights": "none"} | changes)


def test_timms_models_are_built_before_the_search():
    config = config_of(k_layers=(1, 5))
    assert image_forms(config, space_of(config)) == [
        {"image_size": 160, "interpolation": "bicubic", "resize_size": 168}
    ]
    found = check_backbones(config, space_of(config), DATA)
    assert found == {"timm:test_convnext": "none", "timm:test_vit": "none"}


def test_stages_that_a_model_does_not_have_and_sizes_that_do_not_fit_are_one_error():
    config = config_of(k_layers=(6,), image_size=65)
    with pytest.raises(ConfigError) as caught:
        check_backbones(config, space_of(config), DATA)
    stages, size = caught.value.problems
    assert stages == "k_layers must be in 1..5 for freeze_partial of timm:test_convnext, got 6"
    assert size == "timm:test_vit needs images of a multiple of 16 px, but image_size is 65"
