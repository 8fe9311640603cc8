import random
import statistics

import pytest

from inat.constants import COMPLETED, STOPPED
from inat.study.trial import Trial
from inat.tuning.sampling.gains import Gains, best_until, reached_by


def trial(values: list[float], state: str = COMPLETED) -> Trial:
    best = [max(values[: i + 1]) for i in range(len(values))]
    rows = [{"epoch": i, "best_val_acc": value} for i, value in enumerate(best, start=1)]
    return Trial("t0000", 0, {}, "", state, history=rows)


def test_the_best_accuracy_until_an_epoch():
    assert [best_until(trial([0.2, 0.5, 0.3]), (0, epoch)) for epoch in (0, 1, 2, 3, 9)] == [None, 0.2, 0.5, 0.5, 0.5]


def test_the_median_is_that_of_all_completed_trials_so_far_whenever_it_is_asked_for():
    numbers = random.Random(0)
    trials = [
        trial([numbers.random() for _ in range(numbers.randint(1, 6))], numbers.choice([COMPLETED, STOPPED]))
        for _ in range(60)
    ]
    gains = Gains()
    for count, ended in enumerate(trials, start=1):
        gains.add(ended)
        for epoch in range(1, 6) if count % 7 == 0 else ():
            longer = [t for t in trials[:count] if t.state == COMPLETED and t.epochs > epoch]
            changes = [t.best_value - best_until(t, (0, epoch)) for t in longer]
            assert gains.median_after((0, epoch)) == (statistics.median(changes) if changes else 0.0)


def test_a_completed_trial_that_began_later_counts_for_the_epochs_that_it_has():
    resumed = trial([0.1, 0.2, 0.6])
    del resumed.history[0]
    assert Gains([resumed]).median_after((0, 1)) == 0.0
    assert Gains([resumed]).median_after((0, 2)) == pytest.approx(0.4)


def test_gains_are_those_of_equal_cost():
    costly = trial([0.1, 0.5, 0.6])
    costly.epoch_cost = 3.0
    assert reached_by(costly) == (0, 10)
    assert Gains([costly]).median_after((0, 3)) == pytest.approx(0.5)  # after its first epoch
