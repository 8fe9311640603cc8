import pytest

from inat.config.backbones import BACKBONE_FACTS, BACKBONE_NAMES
from inat.config.trial import TrialConfig
from inat.models.backbones import BACKBONES, stage_names

PARAMS = {"data": "photos", "strategy": "freeze_all", "learning_rate": 1e-3, "batch_size": 8, "max_epochs": 1}


def test_the_facts_and_the_networks_have_the_same_names_in_the_same_order():
    assert tuple(BACKBONES) == BACKBONE_NAMES


@pytest.mark.parametrize("name", BACKBONE_NAMES)
def test_the_facts_are_those_of_torchvision(name):
    facts = BACKBONE_FACTS[name]
    assert facts.image_size == BACKBONES[name].image_size
    assert facts.stages == len(stage_names(name)) - 1
    assert (facts.min_size, facts.multiple) == (BACKBONES[name].min_size, BACKBONES[name].patch or 1)


@pytest.mark.parametrize("name", BACKBONE_NAMES)
def test_a_trial_without_an_image_size_takes_the_published_one(name):
    params = PARAMS | {"backbone": name}
    assert TrialConfig.from_params(params).data.image_size == BACKBONE_FACTS[name].image_size
    assert TrialConfig.from_params(params | {"image_size": 96}).data.image_size == 96
