import pytest
from hypothesis import given
from hypothesis import strategies as st

from inat.config.backbones import FREEZE_ALL, FREEZE_PARTIAL, UNFREEZE_ALL
from inat.errors import ConfigError
from inat.tuning.racing.budget import choose_full, choose_partial, choose_probes, fitting, from_small_to_large
from inat.tuning.racing.probes import Candidate
from inat.tuning.racing.waves import Choice

HEAD, LAST, WHOLE = Choice(FREEZE_ALL), Choice(FREEZE_PARTIAL, 1), Choice(UNFREEZE_ALL)
SECONDS = st.floats(0.01, 1e5)


def candidates(**seconds: float) -> list[Candidate]:
    return [Candidate(name, 64, 1_000, value) for name, value in seconds.items()]


def test_probes_go_from_small_to_large_and_stop_at_their_share():
    found = choose_probes(candidates(vgg=50.0, mobile=5.0, resnet=20.0), 100, 0.3)
    assert [one.backbone for one in found] == ["mobile", "resnet"]


def test_a_budget_too_small_for_one_probe_names_a_budget_that_is_enough():
    with pytest.raises(ConfigError, match=r"^time_budget 10 s is too short: features of mobile, .*at least 40s"):
        choose_probes(candidates(vgg=50.0, mobile=12.0), 10, 0.3)
    assert choose_probes(candidates(vgg=50.0, mobile=12.0), 40, 0.3)


@given(costs=st.lists(SECONDS, max_size=12), seconds=SECONDS)
def test_what_fits_fits_and_nothing_else_would(costs, seconds):
    taken, spent = fitting(list(enumerate(costs)), seconds)
    assert spent == pytest.approx(sum(costs[i] for i in taken))
    assert spent <= seconds
    assert all(spent + cost > seconds for i, cost in enumerate(costs) if i not in taken)


@given(st.lists(SECONDS, min_size=1, max_size=8))
def test_the_order_is_by_seconds(seconds):
    ordered = from_small_to_large([Candidate(str(i), 64, 1, value) for i, value in enumerate(seconds)])
    assert [one.seconds for one in ordered] == sorted(seconds)


def test_frozen_trials_of_the_best_leader_come_first():
    costs = {"a": {HEAD: 2.0, LAST: 10.0, WHOLE: 90.0}, "b": {HEAD: 1.0, LAST: 30.0, WHOLE: 60.0}}
    assert choose_partial(["a", "b"], costs, 20) == ([("a", HEAD), ("a", LAST), ("b", HEAD)], 13.0)


def test_a_study_has_a_trial_even_if_none_fits():
    assert choose_partial(["a"], {"a": {HEAD: 7.0, LAST: 9.0}}, 1) == ([("a", HEAD)], 7.0)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(50, ([], 0)), (70, (["b"], 1)), (100, (["a", "b"], 1)), (200, (["a", "b"], 2))],
)
def test_whole_networks_train_if_the_slowest_of_them_fit(seconds, expected):
    costs = {"a": {HEAD: 2.0, WHOLE: 90.0}, "b": {HEAD: 1.0, WHOLE: 60.0}}
    assert choose_full(["a", "b"], costs, 2, seconds) == expected
