"""The time left, in searches of ASHA that are simulated on a clock of their own."""

import heapq
import random

import pytest

from inat.study.trial import Trial
from inat.tuning.expected_epochs import seconds_left
from inat.tuning.rungs import Rungs

RUNGS = Rungs(grace=1, factor=3, max_epochs=9)
EPOCH_SECONDS = 10.0


def simulate(wanted: int, slots: int, seed: int):
    """The (seconds, estimate, share of ended trials) after each epoch of a search, and its whole seconds."""
    rng, trials, found, ranks = random.Random(seed), [], [], {rung: [] for rung in RUNGS.steps}
    queue: list[tuple[float, int]] = []

    def begin(at: float) -> None:
        number = len(trials)
        if number < wanted:
            trials.append(Trial(f"t{number:04}", number, {"quality": rng.random()}, ""))
            heapq.heappush(queue, (at + EPOCH_SECONDS, number))

    for _ in range(slots):
        begin(0.0)
    now, epochs = 0.0, 0
    while queue:
        now, number = heapq.heappop(queue)
        trial, epochs = trials[number], epochs + 1
        epoch, value = trial.epochs + 1, trial.params["quality"]
        trial.add_epoch({"epoch": epoch, "best_val_acc": value})
        if epoch in ranks:
            ranks[epoch].append(value)
            if sum(other > value for other in ranks[epoch]) >= max(1, len(ranks[epoch]) // RUNGS.factor):
                trial.state = "stopped"
        if epoch == RUNGS.max_epochs:
            trial.state = "completed"
        if trial.state == "running":
            heapq.heappush(queue, (now + EPOCH_SECONDS, number))
        else:
            begin(now)
        ended = sum(other.state != "running" for other in trials)
        found.append((now, seconds_left(trials, wanted, RUNGS, now, epochs), ended / wanted))
    return found, now


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("wanted", "slots"), [(40, 2), (100, 4)])
def test_the_time_left_is_about_right_from_a_quarter_of_the_trials_on(wanted, slots, seed):
    found, whole = simulate(wanted, slots, seed)
    errors = [abs(now + left - whole) / whole for now, left, share in found if share >= 0.25]
    assert max(errors) < 0.25
    assert found[-1][1] == 0


def test_it_is_unknown_before_the_first_epoch_and_counts_the_rest_of_a_last_trial():
    trial = Trial("t0000", 0, {}, "")
    assert seconds_left([trial], 1, RUNGS, 5.0, 0) is None
    for epoch in range(1, 5):
        trial.add_epoch({"epoch": epoch, "best_val_acc": 0.5})
    assert seconds_left([trial], 1, RUNGS, 45.0, 4) == pytest.approx(50.0)  # 5 epochs of 10 seconds
