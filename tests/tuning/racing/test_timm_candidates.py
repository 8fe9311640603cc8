"""A preset also races networks of timm whose weights are at hand."""

import pytest
from timm.models import get_pretrained_cfg, list_pretrained

from inat.config.finetune import FinetuneConfig
from inat.config.race import RACES
from inat.errors import ConfigError
from inat.tuning.racing import timm_candidates
from inat.tuning.racing.timm_candidates import with_timm_candidates

SMALL = RACES["fast"].timm


@pytest.fixture
def weights(monkeypatch) -> list[tuple[str, bool]]:
    """The searches for weights, which end well for the first of timm's networks alone."""
    searches: list[tuple[str, bool]] = []

    def find(name, folder, *, download):
        searches.append((name, download))
        if name != SMALL[0]:
            raise ConfigError(f"no weights of {name} (offline); download U")

    monkeypatch.setattr(timm_candidates, "find_weights", find)
    monkeypatch.setattr(timm_candidates, "stage_names", lambda name: ("stage",) * 6)
    return searches


def config(**options) -> FinetuneConfig:
    return FinetuneConfig(**{"data": "digits", "preset": "good"} | options)


def test_what_has_weights_races_and_one_line_tells_of_the_rest(weights):
    lines, skipped = [], {}
    before = config()
    after = with_timm_candidates(before, lines.append, skipped)
    assert after.backbones == (*before.backbones, SMALL[0])
    assert list(skipped) == list(RACES["good"].timm[1:])
    assert lines == [f"skipped {', '.join(skipped)}: no weights of {SMALL[1]} (offline); download U"]
    assert [download for _, download in weights] == [True, True, False, False, False]  # no network, no second attempt


def test_backbones_that_the_user_has_named_race_alone(weights):
    named = config(backbones=("mobilenet_v2", "vgg16"))
    assert with_timm_candidates(named, print, {}) is named
    assert weights == []


def test_random_weights_are_always_at_hand(weights):
    found = with_timm_candidates(config(weights="none", preset="fast"), print, {})
    assert found.backbones[-2:] == SMALL
    assert weights == []


def test_networks_with_too_few_stages_do_not_race(weights):
    assert with_timm_candidates(config(k_layers=(6,)), print, {}).backbones == config(k_layers=(6,)).backbones


@pytest.mark.parametrize("preset", RACES)
def test_the_names_are_timms_and_their_weights_are_free(preset):
    names = [name.removeprefix("timm:") for name in RACES[preset].timm]
    assert set(names) <= set(list_pretrained())
    assert {get_pretrained_cfg(name).license for name in names} <= {"apache-2.0", "mit"}
