import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inat.config.backbones import BackboneConfig, backbone_facts, is_backbone
from inat.config.finetune import FinetuneConfig
from inat.config.timm_names import timm_errors
from inat.config.trial import TrialConfig
from inat.errors import ConfigError

PARAMS = {"data": "photos", "strategy": "freeze_all", "learning_rate": 1e-3, "batch_size": 8, "max_epochs": 1}


@pytest.mark.parametrize(("name", "side"), [
    ("timm:test_vit", 160), ("timm:convnext_tiny.fb_in22k", 224), ("timm:vit_small_patch14_dinov2.lvd142m", 518),
])  # fmt: skip
def test_a_trial_without_an_image_size_takes_the_published_one(name, side):
    assert (is_backbone(name), backbone_facts(name).image_size) == (True, side)
    params = PARAMS | {"backbone": name}
    assert TrialConfig.from_params(params).data.image_size == side
    assert TrialConfig.from_params(params | {"image_size": 64}).data.image_size == 64
    assert FinetuneConfig(backbones=(name,)).resolved_image_size == side


def test_images_are_made_as_for_the_published_weights():
    facts = backbone_facts("timm:tf_efficientnet_lite0")  # a share of 0.875 of 256 px
    assert (facts.image_size, facts.resize_size, facts.interpolation) == (224, 256, "bicubic")
    assert backbone_facts("timm:vit_small_patch14_dinov2").resize_size == 518


def test_all_wrong_names_of_a_search_are_one_error_with_close_names():
    names = ("timm:convnxt_tiny", "timm:convnext_tiny.fb_in", "timm:qqqq", "resnet", "timm:test_vit")
    with pytest.raises(ConfigError) as caught:
        FinetuneConfig(backbones=names)
    first, tag, unknown, torchvision = caught.value.problems
    assert first.startswith("unknown backbone 'timm:convnxt_tiny'; did you mean timm:convnext_tiny, ")
    assert tag.startswith("unknown weights 'fb_in' of timm:convnext_tiny; its weights are timm:convnext_tiny.")
    assert unknown == "unknown backbone 'timm:qqqq'; `inat backbones --search WORD` lists timm's models"
    assert torchvision.startswith("unknown backbone 'resnet'; choose from googlenet, ")


def test_the_number_of_stages_is_checked_when_the_model_is_built_but_not_below_one():
    BackboneConfig(backbone="timm:test_vit", strategy="freeze_partial", k_layers=99)
    with pytest.raises(ConfigError, match="k_layers must be at least 1 for freeze_partial of timm:test_vit, got 0"):
        BackboneConfig(backbone="timm:test_vit", strategy="freeze_partial", k_layers=0)


@given(st.text(max_size=30))
def test_any_text_behind_timm_is_a_name_or_one_sentence(text):
    errors = timm_errors(f"timm:{text}")
    assert len(errors) == (not is_backbone(f"timm:{text}"))
    assert all(error.startswith("unknown ") and "; " in error for error in errors)


def test_other_networks_do_without_timm():
    code = (
        "import sys; from inat.config.finetune import FinetuneConfig; FinetuneConfig(); sys.exit('timm' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=120, check=False).returncode == 0
