import math

import pytest

from inat.config.objective import OBJECTIVES
from inat.study.cheaper import CostRule, better_than_all_cheaper
from inat.study.trial import Trial

COUNTS = {"train": [400, 400], "val": [50, 50], "test": [50, 50]}
ACCURACY = OBJECTIVES["accuracy"]


def trial(name: str, value: float, parameters: int | None, metric: str = "accuracy", **last) -> Trial:
    objective = OBJECTIVES[metric]
    row = {"epoch": 1, objective.best_column: value, "trainable_parameters": parameters} | last
    return Trial(name, 0, {}, "", state="completed", history=[row], objective=objective)


def rule(prefer="noise", **config) -> CostRule:
    return CostRule.of({"config": {"prefer_cheaper": prefer} | config, "class_counts": COUNTS})


def names(trials: list[Trial]) -> list[str]:
    return [one.trial_id for one in trials]


def test_the_cheapest_within_one_standard_error_comes_first():
    best = trial("best", 0.8, 900)  # standard error on 100 images: 0.04
    others = [trial("near", 0.77, 200), trial("edge", 0.76, 100), trial("far", 0.75, 1), trial("dear", 0.79, 1000)]
    assert rule().allowance(best) == pytest.approx(0.04)
    assert names(rule().as_good_as(best, [best, *others])) == ["edge", "near", "best"]


def test_a_distance_replaces_the_noise():
    best, near = trial("best", 0.8, 900), trial("near", 0.794, 100)
    assert names(rule(0.005).as_good_as(best, [best, near])) == ["best"]
    assert names(rule(0.01).as_good_as(best, [best, near])) == ["near", "best"]


def test_without_the_option_nothing_takes_the_place_of_the_best_trial():
    best, same = trial("best", 0.8, 900), trial("same", 0.8, 1)
    for nothing in ("off", None, "loud", -1, math.nan, True):
        assert names(rule(nothing).as_good_as(best, [best, same])) == ["best"]
    assert names(CostRule.of({}).as_good_as(best, [best, same])) == ["best"]


def test_a_lower_loss_is_better():
    best, near = trial("best", 0.5, 900, "val_loss"), trial("near", 0.504, 100, "val_loss")
    assert names(rule(0.005).as_good_as(best, [best, near])) == ["near", "best"]
    assert rule().allowance(best) == 0.0  # a loss has no binomial error


def test_folds_have_a_standard_error_of_their_own_and_fewer_of_them_are_not_compared():
    folds = [{"epoch": i, "best_val_acc": 0.8, "fold": i, "fold_best": value, "folds_done": i, "finished": "max_epochs",
              "trainable_parameters": 9} for i, value in ((1, 0.7), (2, 0.9))]  # fmt: skip
    best = Trial("best", 0, {}, "", history=folds, objective=ACCURACY)
    if best.standard_error is None:
        pytest.fail("the rows are not those of two ended folds")
    assert rule().allowance(best) == best.standard_error == pytest.approx(0.1)
    assert names(rule().as_good_as(best, [best, trial("short", 0.79, 1)])) == ["best"]


def test_an_unknown_cost_is_not_preferred():
    best, unknown = trial("best", 0.8, 900), trial("unknown", 0.8, None)
    assert names(rule().as_good_as(best, [best, unknown])) == ["best"]
    assert names(rule().as_good_as(unknown, [best, unknown])) == ["unknown"]


def test_the_time_of_an_epoch_is_the_median():
    slow = trial("slow", 0.8, 1, seconds=2.0)
    slow.history += [{"epoch": i, "best_val_acc": 0.8, "seconds": seconds} for i, seconds in ((2, 50.0), (3, 3.0))]
    assert rule(cost="epoch-seconds").cost_of(slow) == 3.0
    assert rule(cost="parameters").cost_of(trial("one", 0.8, 7)) == 7


def test_those_that_are_better_than_all_cheaper_ones():
    trials = [trial("a", 0.7, 1), trial("b", 0.6, 2), trial("c", 0.7, 3), trial("d", 0.8, 4)]
    assert names(better_than_all_cheaper(trials)) == ["a", "d"]
