import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inat.config.small_resnet import STEM_STRIDES, SmallResNetConfig, stages_for, stem_errors, stem_side
from inat.config.trial import TrialConfig
from inat.errors import ConfigError

SETTINGS = {"width": 32, "stem_filters": 16, "activation": "relu"}
TRAINING = {"data": "digits", "image_size": 16, "learning_rate": 0.01, "batch_size": 64, "max_epochs": 2}


@pytest.mark.parametrize(
    ("side", "stride", "stages"),
    [(8, 1, 2), (16, 1, 2), (32, 1, 3), (48, 1, 4), (64, 1, 4), (64, 2, 3), (128, 2, 4), (224, 4, 4), (512, 1, 5)],
)
def test_stages_end_at_about_four_pixels(side, stride, stages):
    assert stages_for(side, stride) == stages


@given(st.integers(1, 4096), st.sampled_from(STEM_STRIDES))
def test_stages_leave_a_pixel_and_are_as_near_to_four_as_their_number_allows(side, stride):
    stages = stages_for(side, stride)
    last = stem_side(side, stride) / 2**stages
    assert 2 <= stages <= 5
    assert bool(stem_errors(side, stride)) == (math.floor(last) < 1)
    if stages > 2:
        assert last >= 4 / math.sqrt(2) - 1e-9
    if stages < 5:
        assert last <= 4 * math.sqrt(2) + 1e-9


@given(st.integers(1, 4096), st.sampled_from(STEM_STRIDES))
def test_more_pixels_never_have_fewer_stages(side, stride):
    assert stages_for(side + 1, stride) >= stages_for(side, stride)


def test_filters_double():
    assert SmallResNetConfig(**SETTINGS).filters(64) == (32, 64, 128, 256)


def test_the_width_chooses_the_family():
    config = TrialConfig.from_params(SETTINGS | TRAINING)
    assert config.model == SmallResNetConfig(**SETTINGS)
    assert TrialConfig.from_params(config.to_params()) == config


def test_all_mistakes_come_in_one_error():
    wrong = {"depth": 17, "stem_stride": 3, "pooling": "flatten", "activation": "tanh", "dropout": 2}
    with pytest.raises(ConfigError) as caught:
        SmallResNetConfig(**SETTINGS | wrong)
    assert all(any(name in message for message in caught.value.problems) for name in wrong)


def test_images_that_are_too_small_are_refused_with_the_least_size():
    with pytest.raises(ConfigError, match="stem_stride=4 and 2 stages need images of at least 13 px, but they have 8"):
        TrialConfig.from_params(SETTINGS | TRAINING | {"image_size": 8, "stem_stride": 4})
