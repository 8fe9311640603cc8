import math
import random

import pytest

from inat.config.objective import ACCURACY, OBJECTIVES
from inat.constants import COMPLETED, FAILED, RUNNING, STOPPED
from inat.study.trial import Trial
from inat.tuning.rungs import Rungs
from inat.tuning.sampling.chain import Chain

RUNGS = Rungs(grace=1, factor=3, max_epochs=9)  # rungs at 1 and 3


def trial(values: list[float], state: str = COMPLETED) -> Trial:
    best = [max(values[: i + 1]) for i in range(len(values))]
    rows = [{"epoch": i, "best_val_acc": value} for i, value in enumerate(best, start=1)]
    return Trial("t0000", 0, {}, "", state, history=rows)


def chain_of(*trials: Trial) -> Chain:
    chain = Chain(RUNGS, ACCURACY)
    for number, each in enumerate(trials):
        chain.update(each, number)
    return chain


def test_a_stopped_trial_counts_with_the_gains_from_rung_to_rung():
    to_3 = [trial([0.2, 0.2, 0.3], STOPPED), trial([0.2, 0.2, 0.4], RUNNING), trial([0.2, 0.2, 0.5, 0.6, *[0.7] * 5])]
    chain = chain_of(trial([0.1], STOPPED), *to_3)
    # From 1 to 3 epochs the gains are 0.1, 0.2 and 0.3, from 3 to the end 0.2.
    assert chain.value_of(0) == pytest.approx(0.1 + 0.2 + 0.2)
    assert chain.value_of(1) == pytest.approx(0.3 + 0.2)
    assert chain.value_of(3) is None


def test_lessons_are_revised_with_each_trial():
    first = trial([0.1], STOPPED)
    chain = chain_of(first)
    assert chain.value_of(0) == 0.1
    chain.update(trial([0.2, 0.2, 0.3], RUNNING), 1)
    assert chain.value_of(0) == pytest.approx(0.2)
    chain.update(trial([0.2, 0.2, 0.3, *[0.6] * 6]), 1)
    assert chain.value_of(0) == pytest.approx(0.1 + 0.1 + 0.3)


def test_a_trial_that_ended_by_patience_gains_nothing_after_it():
    chain = chain_of(trial([0.1], STOPPED), trial([0.5, 0.6]))
    assert chain.value_of(0) == pytest.approx(0.2)
    assert chain.value_of(1) is None


def test_a_running_trial_counts_from_its_first_rung_until_it_ends():
    chain = chain_of(trial([], RUNNING))
    assert (chain.running, chain.value_of(0)) == (set(), None)
    chain.update(trial([0.4], RUNNING), 0)
    chain.update(trial([0.4, 0.5], RUNNING), 0)
    assert (chain.running, chain.value_of(0), chain.rung_of(0)) == ({0}, 0.4, 0)
    chain.update(trial([0.4, 0.5, 0.5, 0.6], RUNNING), 0)
    assert (chain.value_of(0), chain.rung_of(0)) == (0.5, 1)
    chain.update(trial([0.4, 0.5, 0.5, 0.6], FAILED), 0)
    assert (chain.running, chain.value_of(0), chain.rung_of(0)) == (set(), None, None)
    chain.update(trial([0.1], STOPPED), 1)
    assert chain.value_of(1) == 0.1  # a failed trial has no gains either


def test_values_stay_within_the_range_of_the_objective_and_lower_losses_are_better():
    chain = chain_of(trial([0.9], STOPPED), trial([0.4, 0.4, 0.8]))
    assert chain.value_of(0) == 1.0
    rows = [[2.0], [1.5, 1.5, 1.0]]
    losses = Chain(RUNGS, OBJECTIVES["val_loss"])
    for number, values in enumerate(rows):
        history = [{"epoch": i, "best_val_loss": value} for i, value in enumerate(values, start=1)]
        losses.update(Trial("t0000", 0, {}, "", STOPPED, history=history, objective=OBJECTIVES["val_loss"]), number)
    assert losses.value_of(0) == pytest.approx(1.5)


def test_a_value_that_is_not_finite_is_left_as_it_was_told():
    chain = chain_of(trial([math.nan], STOPPED), trial([0.1, math.nan, math.nan]), trial([0.2], STOPPED))
    assert [chain.value_of(number) for number in range(3)] == [None, None, 0.2]


def test_trainings_of_a_trial_are_rungs_too():
    rungs = Rungs(grace=3, factor=3, max_epochs=9, trainings=2)  # rungs at 3 and at the end of the first training

    def folded(state: str, *rows: tuple[float, int, int]) -> Trial:
        history = [
            {"epoch": i, "best_val_acc": best, "fold": fold, "fold_best": best, "folds_done": done}
            for i, (best, fold, done) in enumerate(rows, start=1)
        ]
        return Trial("t0000", 0, {}, "", state, history=history)

    chain = Chain(rungs, ACCURACY)
    chain.update(folded(STOPPED, (0.3, 1, 0), (0.3, 1, 0), (0.3, 1, 0)), 0)
    chain.update(folded(RUNNING, (0.3, 1, 0), (0.4, 1, 0), (0.4, 1, 0), (0.5, 1, 1), (0.5, 2, 1)), 1)
    assert chain.value_of(0) == pytest.approx(0.4)
    assert chain.value_of(1) == 0.5


def test_the_order_of_the_trials_and_of_their_epochs_makes_no_difference():
    numbers = random.Random(0)
    trials = [
        trial([0.2 * numbers.random() for _ in range(numbers.choice([1, 2, 3, 5, 9]))], state)
        for state in numbers.choices([COMPLETED, STOPPED, RUNNING], k=40)
    ]
    at_once = chain_of(*trials)
    by_epoch = Chain(RUNGS, ACCURACY)
    updates = [(number, epoch) for number, each in enumerate(trials) for epoch in range(1, each.epochs + 1)]
    numbers.shuffle(updates)  # also back to earlier epochs, as after a loss of its checkpoint
    for number, epoch in updates:
        each = trials[number]
        by_epoch.update(Trial("t", 0, {}, "", RUNNING, history=each.history[:epoch]), number)
    for number, each in reversed(list(enumerate(trials))):
        by_epoch.update(each, number)
    values = [at_once.value_of(number) for number in range(40)]
    assert [by_epoch.value_of(number) for number in range(40)] == values
    assert by_epoch.running == at_once.running
    assert len(set(values)) > 10


def test_values_are_taken_at_equal_cost():
    cheap, costly = trial([0.1, 0.2, 0.3, 0.4, 0.5, 0.6], RUNNING), trial([0.3, 0.4], STOPPED)
    cheap.epoch_cost, costly.epoch_cost = 0.5, 3.0
    chain = chain_of(cheap, costly)
    # Epochs 2 and 6 of the cheap trial are at the rungs 1 and 3, and so is the first epoch of the costly one.
    assert chain.value_of(0) == pytest.approx(0.6)
    assert (chain.rung_of(0), chain.rung_of(1)) == (1, 1)
    chain = chain_of(trial([0.1], STOPPED), cheap)
    assert chain.value_of(0) == pytest.approx(0.1 + 0.6 - 0.2)
