"""The ended trials of an earlier study: of this program, or of any tool whose studies ``analysis`` reads."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.objective import Objective
from analysis.rungs import cost_reached, epochs_at
from inat.config.validation import expanded
from inat.constants import (
    BEST_VAL_ACC,
    EPOCH,
    FAILED,
    RUNNING,
    SEARCH_KIND,
    STATE,
    STOPPED,
    STUDY_JSON,
    TRIAL_ID,
    VAL_ACC,
)
from inat.errors import ConfigError
from inat.study.journal import Journal
from inat.study.metadata import read_info
from inat.tuning.earlier.ranking import EarlierTrial


@dataclass(frozen=True, slots=True)
class EarlierStudy:
    """An earlier study: its ended trials, the metric that ranks them, and what their curves count.

    ``objective`` is the metric that it optimised, ``fingerprint`` that of its images, "" if it is not known; ``failed``
    counts the trials that are left out.
    """

    path: Path
    trials: Sequence[EarlierTrial]
    metric: str
    objective: str
    unit: str
    fingerprint: str = ""
    failed: int = 0


def read_earlier(path: Path, objective: Objective, kind: str) -> EarlierStudy:
    """Read the ended trials of a study, ranked by ``objective`` where the study has recorded it.

    Studies of this program record every metric in each epoch, whichever they optimise; those of other tools count by
    their own metric. A search may be writing the study. ``kind``: of the search that learns.

    Raises ConfigError if it cannot be learned from; StudyError if a study of this program is damaged.
    """
    directory = expanded(path)
    study = _read_own(directory, objective, kind) if (directory / STUDY_JSON).exists() else _read_other(directory)
    if not study.trials:
        raise ConfigError(f"--learn-from {path} has no ended trial with a result; leave it out")
    return study


def _read_own(directory: Path, objective: Objective, kind: str) -> EarlierStudy:
    info = read_info(directory)
    if (made_by := info.get(SEARCH_KIND, kind)) != kind:
        raise ConfigError(
            f"--learn-from {directory} is a study of tune_{made_by}.py, whose hyperparameters mean other networks; "
            "leave it out"
        )
    journal = Journal.read(directory)
    same = journal.objective == objective
    column = objective.best_column if same else objective.column
    ended = journal.ended()
    trials = [trial for trial in ended if trial.state != FAILED and trial.history and trial.params]
    if any(column not in row for trial in trials for row in trial.history):
        raise ConfigError(
            f"--learn-from {directory} is of an earlier version, which has not recorded --metric {objective.name}; "
            "leave it out"
        )
    return EarlierStudy(
        path=directory,
        trials=[
            EarlierTrial(
                params=trial.params,
                # With folds, the best value of the objective is a mean over them, which may get worse.
                best=_at_equal_cost(
                    [objective.sign * float(row[column]) for row in trial.history]
                    if same
                    else best_so_far([row[column] for row in trial.history], objective.sign),
                    trial.epoch_cost,
                ),
                stopped=trial.state == STOPPED,
            )
            for trial in trials
        ],
        metric=objective.name,
        objective=journal.objective.name,
        unit=EPOCH,
        fingerprint=str(info.get("data", {}).get("fingerprint", "")),
        failed=sum(trial.state == FAILED for trial in ended),
    )


def _at_equal_cost(best: Sequence[float], epoch_cost: float) -> list[float]:
    """The best values after each epoch of the recipe, of a trial whose epochs cost ``epoch_cost`` of those.

    >>> _at_equal_cost([0.1, 0.2, 0.3, 0.4], 0.5), _at_equal_cost([0.1, 0.2], 2.0)
    ([0.2, 0.4], [0.1, 0.1, 0.1, 0.2, 0.2])
    """
    reached = max(1, cost_reached(len(best), epoch_cost))
    return [best[min(len(best), epochs_at(cost, epoch_cost)) - 1] for cost in range(1, reached + 1)]


def _read_other(directory: Path) -> EarlierStudy:
    import pandas as pd

    from analysis.study import load_study

    try:
        study = load_study(directory)
    except (OSError, ValueError) as error:
        raise ConfigError(f"--learn-from {directory} cannot be read ({error}); pass a study directory") from error
    curves = {str(name): rows[VAL_ACC].tolist() for name, rows in study.history.groupby(TRIAL_ID, sort=False)}
    trials = [
        EarlierTrial(
            params={name: _plain(row[name]) for name in study.parameters if not pd.isna(row[name])},
            best=best_so_far(curves.get(str(row[TRIAL_ID])) or [row[BEST_VAL_ACC]], study.sign),
            stopped=row[STATE] == STOPPED,
        )
        for _, row in study.trials.iterrows()
        if row[STATE] not in (RUNNING, FAILED)
    ]
    failed = int((study.trials[STATE] == FAILED).sum())
    return EarlierStudy(directory, trials, study.metric, study.metric, study.unit, failed=failed)


def _plain(value: Any) -> Any:
    """A cell of a table as a value of Python."""
    return value.item() if hasattr(value, "item") else value


def best_so_far(values: Sequence[float], sign: int) -> list[float]:
    """The best value up to each one, as a number of which higher ones are better; values that are not finite are none.

    >>> best_so_far([0.9, 0.7, 0.8], -1)
    [-0.9, -0.7, -0.7]
    """
    best, found = -math.inf, []
    for value in values:
        best = max(best, sign * float(value)) if math.isfinite(value) else best
        found.append(best)
    return found
