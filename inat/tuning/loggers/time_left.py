"""How long a search still takes, from the rungs of ASHA, the trials so far and the speed of their epochs."""

from collections.abc import Sequence

from inat.constants import COMPLETED, FAILED, RUNNING, STOPPED
from inat.study.folds import step_of
from inat.study.trial import Trial
from inat.tuning.sampling.feedback import Rungs

PRIOR_TRIALS = 4  # that count as if ASHA had continued one in ``factor`` of them at each rung


def seconds_left(trials: Sequence[Trial], wanted: int, rungs: Rungs, elapsed: float, epochs_done: int) -> float | None:
    """Estimate the seconds until ``wanted`` trials have ended; None before the first epoch.

    In the ``elapsed`` seconds of this run the trials trained ``epochs_done`` epochs. What a trial still trains follows
    from the share of trials that went on at each rung so far. Trials that began first train for longest, so neither
    the mean of the ended trials nor their number per minute says how long the others take.
    """
    running = [trial for trial in trials if trial.state == RUNNING]
    ended = len(trials) - len(running)
    if not epochs_done:
        return None
    shares, length = shares_that_go_on(trials, rungs), mean_length(trials, rungs)
    of_running = [expected_steps(_step(trial, rungs), rungs, shares, length) for trial in running]
    new = max(0, wanted - ended - len(running)) * expected_steps(0, rungs, shares, length)
    slots = max(len(running), 1)
    per_epoch = elapsed * slots / (epochs_done + 0.5 * len(running))  # each running trial is in the middle of an epoch
    return per_epoch * max((sum(of_running) + new) / slots, max(of_running, default=0.0))


def shares_that_go_on(trials: Sequence[Trial], rungs: Rungs) -> list[float]:
    """For each rung, the share of the trials that went on there."""
    shares = []
    for rung in rungs.steps:
        reached = [trial for trial in trials if trial.state != FAILED and _step(trial, rungs) >= rung]
        stopped = sum(trial.state == STOPPED and _step(trial, rungs) == rung for trial in reached)
        shares.append((len(reached) - stopped + PRIOR_TRIALS / rungs.factor) / (len(reached) + PRIOR_TRIALS))
    return shares


def mean_length(trials: Sequence[Trial], rungs: Rungs) -> float:
    """The steps after which trials end that ASHA does not stop: the last one, or fewer because of --patience."""
    lengths = [_step(trial, rungs) for trial in trials if trial.state == COMPLETED]
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


def _step(trial: Trial, rungs: Rungs) -> int:
    last = trial.history[-1:]  # in one step, because another thread may shorten it
    return step_of(last[0], rungs.max_epochs) if last else 0
