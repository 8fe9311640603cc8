"""A study as pandas frames, whichever tool wrote it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.readers.frames import SIGNS, Broken, Frames, Mode, chosen
from analysis.readers.ray_tune import is_tune, read_tune
from analysis.readers.study_dir import is_study_dir, read_study_dir
from analysis.readers.wandb_csv import is_wandb_csv, read_wandb_csv
from analysis.schema import BEST_VAL_ACC, HISTORY_CSV, STUDY_JSON, TRIALS_CSV

LESS_IS_BETTER = re.compile(r"loss|error|perplexity|(^|[^a-z])(mse|rmse|mae|err)([^a-z]|$)", re.IGNORECASE)
BROKEN_COLUMNS = ["place", "reason"]


def _no_broken() -> pd.DataFrame:
    return pd.DataFrame(columns=BROKEN_COLUMNS)


@dataclass(frozen=True, slots=True, repr=False)
class Study:
    """A study, running or ended.

    ``trials``: one row a trial: trial_id, name, state, the hyperparameters, best_val_acc, trainable_parameters, epochs,
    seconds, created (UTC), node, error. ``history``: one row a trial and epoch. ``info``: the content of study.json, or
    what is known of another kind of study. ``parameters``: the columns of ``trials`` that are hyperparameters.
    ``broken``: place and reason of what could not be read. ``metric``: what val_acc and best_val_acc are, and ``mode``:
    whether its largest or its smallest values are the best.
    """

    trials: pd.DataFrame
    history: pd.DataFrame
    info: dict[str, Any]
    parameters: list[str] = field(default_factory=list)
    broken: pd.DataFrame = field(default_factory=_no_broken)
    metric: str = BEST_VAL_ACC
    mode: Mode = "max"

    def __repr__(self) -> str:
        """A line rather than all frames."""
        return (
            f"<Study: {len(self.trials):,} trials, {len(self.history):,} epochs, "
            f"{len(self.parameters)} hyperparameters, metric {self.metric} ({self.mode})>"
        )

    @property
    def sign(self) -> int:
        """What the metric is multiplied by for more to be better: 1, or -1 if it is to be minimised."""
        return SIGNS[self.mode]


def load_study(
    path: str | Path,
    metric: str | None = None,
    mode: Mode | None = None,
    *,
    study: str | None = None,
    parameters: Sequence[str] | None = None,
) -> Study:
    """Read a study directory, a Ray Tune experiment, an Optuna database or journal, or a CSV of W&B runs.

    ``metric`` becomes val_acc in the history; its best value so far, whichever it is by ``mode``, becomes best_val_acc:
    with "min" that is the least one, its sign as it was. None is best_val_acc, or else val_acc. ``mode`` None is "min"
    for a metric that is called a loss or an error, else "max", or the direction that an Optuna study has of its own.
    ``study`` names one of several studies in an Optuna database (``path#study`` does too); ``parameters`` names the
    hyperparameters that count, by default all, or those that vary of a Tune experiment or W&B export. Nothing is ever
    unpickled. What cannot be read is in ``broken``.

    Raises FileNotFoundError if ``path`` is none of these, and ValueError if it has no such metric, parameter or study,
    or if an Optuna study goes the other way than ``mode``.
    """
    if mode not in ("max", "min", None):
        raise ValueError(f"mode is {mode!r}; choose max or min")
    if mode is None and metric is not None and LESS_IS_BETTER.search(metric):
        mode = "min"
    broken: Broken = []
    frames = _read(path, metric, mode, study, parameters, broken)
    if parameters is not None:
        frames = frames._replace(parameters=chosen(frames.trials, frames.parameters, parameters))
    table = pd.DataFrame(broken, columns=BROKEN_COLUMNS)
    return Study(*frames[:4], broken=table, metric=frames.metric, mode=frames.mode)


def _read(
    path: str | Path,
    metric: str | None,
    mode: Mode | None,
    study: str | None,
    parameters: Sequence[str] | None,
    broken: Broken,
) -> Frames:
    place = Path(path)
    if study is not None and (place.is_dir() or is_wandb_csv(place)):
        raise ValueError(f"{place} is no Optuna database and holds one study; leave out the name {study}")
    if place.is_dir():
        if is_study_dir(place):
            return read_study_dir(place, metric, mode or "max", broken)
        if is_tune(place):
            return read_tune(place, metric, mode or "max", parameters, broken)
        missing = [name for name in (STUDY_JSON, TRIALS_CSV, HISTORY_CSV) if not (place / name).is_file()]
        raise FileNotFoundError(
            f"{place} is not a study directory: it has no {', '.join(missing)}; nor is it a Ray Tune experiment: "
            "it has no experiment_state-*.json and no folder with result.json, progress.csv or params.json"
        )
    if is_wandb_csv(place):
        return read_wandb_csv(place, metric, mode or "max", parameters, broken)
    from analysis.readers import optuna_db  # here, because Optuna takes half a second to import

    return optuna_db.read_optuna(path, metric, mode, study, broken)
