"""How many epochs a search will train: all trials to their end, and what ASHA can be expected to leave of that."""

from collections.abc import Sequence


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
