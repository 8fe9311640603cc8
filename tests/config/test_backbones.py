import pytest

from inat.config.backbones import BACKBONE_FACTS, BACKBONE_NAMES
from inat.config.trial import TrialConfig
from inat.errors import ConfigError
from inat.models.backbones import stage_names
from inat.models.published_backbones import BACKBONES

PARAMS = {"data": "photos", "strategy": "freeze_all", "learning_rate": 1e-3, "batch_size": 8, "max_epochs": 1}


def test_the_facts_and_the_networks_have_the_same_names_in_the_same_order():
    assert tuple(BACKBONES) == BACKBONE_NAMES


@pytest.mark.parametrize("name", BACKBONE_NAMES)
def test_the_facts_are_those_of_torchvision(name):
    facts = BACKBONE_FACTS[name]
    assert facts.image_size == BACKBONES[name].image_size
    assert facts.stages == len(stage_names(name)) - 1
    assert (facts.min_size, facts.multiple) == (BACKBONES[name].min_size, BACKBONES[name].patch or 1)
    published = BACKBONES[name].weights.transforms()
    assert [facts.resize_size] == published.resize_size
    assert facts.interpolation == published.interpolation.value


@pytest.mark.parametrize("name", BACKBONE_NAMES)
def test_a_trial_without_an_image_size_takes_the_published_one(name):
    params = PARAMS | {"backbone": name}
    assert TrialConfig.from_params(params).data.image_size == BACKBONE_FACTS[name].image_size
    assert TrialConfig.from_params(params | {"image_size": 96}).data.image_size == 96


@pytest.mark.parametrize(
    ("name", "size", "shorter_side"),
    [("resnet50", 224, 232), ("resnet50", 64, 66), ("inception_v3", 299, 342), ("efficientnet_v2_s", 96, 96)],
)
def test_a_central_crop_has_the_published_share_of_the_photo(name, size, shorter_side):
    data = TrialConfig.from_params(PARAMS | {"backbone": name, "image_size": size, "resize": "crop"}).data
    assert (data.resize_size, data.shorter_side) == (shorter_side, shorter_side)
    assert TrialConfig.from_params(PARAMS | {"backbone": name, "image_size": size}).data.shorter_side == 0


def test_impossible_forms_of_images_are_refused():
    for wrong, message in (
        ({"resize": "stretch"}, "unknown resize 'stretch'; choose from squash, crop"),
        ({"interpolation": "lanczos"}, "unknown interpolation 'lanczos'; choose from bilinear, bicubic"),
        ({"resize_size": 20, "image_size": 32}, "resize_size must be 0 or at least image_size 32, got 20"),
    ):
        with pytest.raises(ConfigError, match=message):
            TrialConfig.from_params(PARAMS | {"backbone": "resnet50"} | wrong)
