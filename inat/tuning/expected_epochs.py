"""How many epochs a search trains: before it begins, by what ASHA can be expected to leave of all trials; while it
runs, by what ASHA has left so far, and then how long the rest takes at the speed of the epochs.
"""

from collections.abc import Sequence

from inat.constants import COMPLETED, FAILED, RUNNING, STOPPED
from inat.study.trial import Trial
from inat.tuning.rungs import Rungs

PRIOR_TRIALS = 4  # that count as if ASHA had continued one in ``factor`` of them at each rung


def expected_survivors(trials: float, factor: int) -> float:
    """How many of ``trials`` ASHA lets pass at a rung, if the order in which they arrive says nothing about them.

    The n-th trial at a rung is compared with the quantile 1 - 1/factor of the n - 1 before it, interpolated linearly.
    Equally likely to fall into each of the n gaps between them, it is stopped with probability
    ((n - 2) (1 - 1/factor) + 1) / n. The first one always passes.

    >>> round(expected_survivors(48, factor=3), 2)
    16.95
    """
    whole = int(trials)
    passed = sum(_pass_probability(number, factor) for number in range(1, whole + 1))
    return passed + (trials - whole) * _pass_probability(whole + 1, factor)


def _pass_probability(number: int, factor: int) -> float:
    return 1.0 if number == 1 else 1 - ((number - 2) * (1 - 1 / factor) + 1) / number


def expected_epochs(
    trials: float, rungs: Sequence[int], last: int, factor: int, control_fraction: float = 0.0
) -> float:
    """Epochs of all trials together, with ``rungs`` (epochs, ascending) and ``last``, the last epoch of a trial.

    Of ``control_fraction`` of the trials, ASHA stops none.

    >>> expected_epochs(48, rungs=[], last=27, factor=3) == 48 * 27
    True
    >>> round(expected_epochs(48, rungs=[3, 9], last=27, factor=3))
    357
    """
    epochs, before = 0.0, 0
    controls = control_fraction * trials * last
    for rung in (*rungs, last):
        epochs += trials * (rung - before)
        before, trials = rung, expected_survivors(trials, factor)
    return (1 - control_fraction) * epochs + controls


def seconds_left(trials: Sequence[Trial], wanted: int, rungs: Rungs, elapsed: float, epochs_done: int) -> float | None:
    """Estimate the seconds until ``wanted`` trials have ended; None before the first epoch.

    In the ``elapsed`` seconds of this run the trials trained ``epochs_done`` epochs. What a trial still trains follows
    from the share of trials that went on at each rung so far. Trials that began first train for longest, so neither
    the mean of the ended trials nor their number per minute says how long the others take.
    """
    running = sum(trial.state == RUNNING for trial in trials)
    if not epochs_done:
        return None
    per_epoch = elapsed * max(running, 1) / (epochs_done + 0.5 * running)  # each one is in the middle of an epoch
    return per_epoch * epochs_left(trials, wanted, rungs)


def epochs_left(trials: Sequence[Trial], wanted: int, rungs: Rungs) -> float:
    """The expected number of epochs, one after the other, until ``wanted`` trials have ended in the present slots."""
    running = [trial for trial in trials if trial.state == RUNNING]
    shares, length = shares_that_go_on(trials, rungs), mean_length(trials, rungs)
    of_running = [expected_steps(rungs.step(trial), rungs, shares, length) for trial in running]
    new = max(0, wanted - len(trials)) * expected_steps(0, rungs, shares, length)
    return max((sum(of_running) + new) / max(len(running), 1), max(of_running, default=0.0))


def shares_that_go_on(trials: Sequence[Trial], rungs: Rungs) -> list[float]:
    """For each rung, the share of the trials that went on there."""
    shares = []
    for rung in rungs.steps:
        reached = [trial for trial in trials if trial.state != FAILED and rungs.step(trial) >= rung]
        # A trial of equal cost may step over the rung at which it is compared, by less than one of its epochs.
        stopped = sum(
            trial.state == STOPPED and rungs.step(trial) - rung < max(1.0, trial.epoch_cost) for trial in reached
        )
        shares.append((len(reached) - stopped + PRIOR_TRIALS / rungs.factor) / (len(reached) + PRIOR_TRIALS))
    return shares


def mean_length(trials: Sequence[Trial], rungs: Rungs) -> float:
    """The steps after which trials end that ASHA does not stop: the last one, or fewer because of --patience."""
    lengths = [rungs.step(trial) for trial in trials if trial.state == COMPLETED]
    return (sum(lengths) + rungs.max_epochs * rungs.trainings) / (len(lengths) + 1)


def expected_steps(step: int, rungs: Rungs, shares: Sequence[float], length: float) -> float:
    """The expected number of steps that a trial trains from ``step`` on.

    >>> rungs = Rungs(grace=1, factor=3, max_epochs=9)
    >>> expected_steps(0, rungs, [1 / 3, 1 / 3], length=9)
    2.333...
    """
    expected, chance, place = 0.0, 1.0, float(step)
    for rung, share in zip(rungs.steps, shares, strict=True):
        if rung > step:
            expected += chance * max(0.0, min(rung, length) - place)
            chance, place = chance * share, float(rung)
    return expected + chance * max(0.0, length - place)
