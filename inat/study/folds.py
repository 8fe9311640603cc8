"""The epochs of a trial that trains several times, once per fold and repeat: what its rows mean, as arithmetic.

Such a row has three columns more than others: ``fold``, the number of the training from 1 on; ``fold_best``, the best
value of this training so far; ``folds_done``, how many trainings have ended with this row. ``epoch`` counts on from one
training to the next. The best value of the objective, such as ``best_val_acc``, is a running mean: during the first
training its best value so far, then the mean of the best values of the trainings that have ended, so it changes only
where one ends, and may get worse there.
"""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from analysis.rungs import cost_reached, cost_within
from inat.config.objective import ACCURACY, Objective
from inat.constants import EPOCH, FOLD, FOLD_BEST, FOLDS_DONE

Row = Mapping[str, Any]


def as_trial_row(
    row: Row, number: int, before: Sequence[Row], ends: bool, column: str = ACCURACY.best_column
) -> dict[str, Any]:
    """The row of the trial for a row of its training ``number``, given the rows ``before`` of the earlier ones.

    ``row`` has the epoch and, in ``column``, the best value of this training alone; ``ends``: it is its last one.

    >>> first = as_trial_row({"epoch": 1, "best_val_acc": 0.8}, 1, [], ends=True)
    >>> second = as_trial_row({"epoch": 1, "best_val_acc": 0.6}, 2, [first], ends=False)
    >>> second["epoch"], second["best_val_acc"], second["fold_best"]
    (2, 0.8, 0.6)
    """
    own: float = row[column]
    values = [*fold_values(before), *([own] if ends else [])]
    return {
        **row,
        EPOCH: (before[-1][EPOCH] if before else 0) + row[EPOCH],
        column: statistics.fmean(values) if values else own,
        FOLD: number,
        FOLD_BEST: own,
        FOLDS_DONE: number if ends else number - 1,
    }


def ends_fold(row: Row) -> bool:
    """Whether a training with others beside it ends with this row."""
    return FOLD in row and row[FOLD] == row[FOLDS_DONE]


def fold_values(rows: Sequence[Row]) -> list[float]:
    """The best value of each training that has ended."""
    return [float(row[FOLD_BEST]) for row in rows if ends_fold(row)]


def standard_error(values: Sequence[float]) -> float | None:
    """The standard error of the mean of ``values``: their deviation (n - 1) over the root of n; None for fewer than 2.

    >>> standard_error([0.8, 0.9, 1.0])
    0.05773502691896258
    """
    return statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else None


def kept_row(rows: Sequence[Row], objective: Objective = ACCURACY) -> Row:
    """The row of the epoch whose weights are kept: the first one with the best value of all trainings."""
    return max(rows, key=lambda row: objective.sign * float(row[FOLD_BEST]))


def step_of(row: Row, max_epochs: int, epoch_cost: float = 1.0) -> int:
    """The time at which ASHA compares a trial: its ``progress`` as a number, with ``max_epochs`` per ended training.

    ``epoch_cost`` is that of the trial, for a study that compares trials at equal cost.

    >>> step_of({"epoch": 5}, max_epochs=27), step_of({"epoch": 20, "fold": 2, "folds_done": 1}, max_epochs=27)
    (5, 27)
    >>> step_of({"epoch": 5}, max_epochs=27, epoch_cost=2.0)
    11
    """
    done, epoch = progress(row, epoch_cost)
    return done * max_epochs + epoch


def step_within(row: Row, max_epochs: int, epoch_cost: float = 1.0) -> int:
    """The first time at which a comparison takes this row in; without an ``epoch_cost``, its ``step_of``.

    >>> step_within({"epoch": 5}, max_epochs=27, epoch_cost=2.0)
    10
    """
    done, epoch = progress_within(row, epoch_cost)
    return done * max_epochs + epoch


def progress(row: Row, epoch_cost: float = 1.0) -> tuple[int, int]:
    """How far a trial was with this row: its ended trainings, and before the end of the first one also its epochs.

    The epochs are those of the recipe where trials are compared at equal cost, and one of the trial costs
    ``epoch_cost``. Trials with equal progress can be compared. Patience ends trainings at different epochs, so the
    number of epochs says nothing once the first one has ended.

    >>> progress({"epoch": 5}), progress({"epoch": 20, "fold": 2, "folds_done": 1})
    ((0, 5), (1, 0))
    """
    done = int(row.get(FOLDS_DONE, 0))
    return (done, 0) if done else (0, int(cost_reached(int(row[EPOCH]), epoch_cost)))


def progress_within(row: Row, epoch_cost: float = 1.0) -> tuple[int, int]:
    """The first progress at which a comparison takes this row in; without an ``epoch_cost``, its ``progress``."""
    done = int(row.get(FOLDS_DONE, 0))
    return (done, 0) if done else (0, cost_within(int(row[EPOCH]), epoch_cost))
