"""Load a study into pandas, whichever tool wrote it."""

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.readers.frames import MODE_SIGNS, Frames, Mode, ReadErrors, select_parameters
from analysis.readers.ray_tune import is_ray_tune_dir, read_ray_tune
from analysis.readers.study_dir import is_study_dir, read_study_dir
from analysis.readers.wandb_csv import is_wandb_csv, read_wandb_csv
from analysis.schema import BEST_VAL_ACC, EPOCH, HISTORY_CSV, STUDY_JSON, TRIALS_CSV
from analysis.wording import counted, unit_of

# In a notebook without ipywidgets, tqdm says so in red as soon as Optuna is imported; nothing here draws such a bar.
warnings.filterwarnings("ignore", message="IProgress not found")

LOWER_IS_BETTER = re.compile(r"loss|error|perplexity|(^|[^a-z])(mse|rmse|mae|err)([^a-z]|$)", re.IGNORECASE)
READ_ERROR_COLUMNS = ["place", "reason"]


def _no_read_errors() -> pd.DataFrame:
    return pd.DataFrame(columns=READ_ERROR_COLUMNS)


@dataclass(frozen=True, slots=True, repr=False)
class StudyData:
    """The tables of a study, finished or still running. ``load_study`` creates it.

    - ``trials``: one row per trial: trial_id, name, state, the hyperparameters, best_val_acc, trainable_parameters,
      epochs, seconds, created (UTC), node, error. Of a study that compares trials at equal cost, the epochs are those
      of the recipe, and epoch_cost and own_epochs say what the trial's own cost and how many it had.
    - ``history``: one row per trial and epoch.
    - ``info``: the content of study.json; for other kinds of studies, their source, metric and mode.
    - ``parameters``: the columns of ``trials`` that are hyperparameters.
    - ``read_errors``: place and reason of each row or file that could not be read.
    - ``metric``, ``mode``: which metric val_acc and best_val_acc hold, and whether its highest ("max") or lowest
      ("min") value is the best.
    - ``step``: what the columns ``epoch`` and ``epochs`` count: "epoch", or for example "step" or "training_iteration".
    - ``path``: where the study was loaded from; None for one that was made in memory.

    >>> study.trials[["trial_id", "state", "best_val_acc"]].values[0].tolist()
    ['t0000', 'completed', 0.75]
    """

    trials: pd.DataFrame
    history: pd.DataFrame
    info: dict[str, Any]
    parameters: list[str] = field(default_factory=list)
    read_errors: pd.DataFrame = field(default_factory=_no_read_errors)
    metric: str = BEST_VAL_ACC
    mode: Mode = "max"
    step: str = EPOCH
    path: Path | None = None

    def __repr__(self) -> str:
        """One line with the size of the study and its metric."""
        return (
            f"<StudyData: {counted(len(self.trials), 'trial')}, {counted(len(self.history), self.unit)}, "
            f"{counted(len(self.parameters), 'hyperparameter')}, metric {self.metric} ({self.mode})>"
        )

    @property
    def unit(self) -> str:
        """What the curves count, as a noun in the singular: "epoch", "training iteration".

        >>> study.unit
        'epoch'
        """
        return unit_of(self.step)

    @property
    def sign(self) -> int:
        """1 if higher values of the metric are better, -1 if lower ones are: ``sign * metric`` is to be maximised.

        >>> study.sign
        1
        """
        return MODE_SIGNS[self.mode]


def load_study(
    path: str | Path,
    metric: str | None = None,
    mode: Mode | None = None,
    *,
    study: str | None = None,
    parameters: Sequence[str] | None = None,
) -> StudyData:
    """Read a study directory, a Ray Tune experiment, an Optuna database or journal, or a CSV of W&B runs.

    ``metric``: the metric to compare. Default: what the search of a study directory optimised; for other studies
    best_val_acc or else val_acc. It becomes the column val_acc of
    ``history``, and its best value becomes best_val_acc of ``trials``; the sign of its values does not change.
    ``mode``: whether the highest ("max") or the lowest ("min") value is the best. Default: "min" if the metric's name
    contains loss, error or the like, otherwise "max"; the own direction of a study directory, and of an objective of
    Optuna. Of several objectives, ``metric`` names one by its index or name.
    ``study``: the name of one of several studies in an Optuna database; ``path#study`` works too.
    ``parameters``: the hyperparameters to analyse. Default: all, or, for a Ray Tune experiment or W&B export, the ones
    that vary.

    Nothing is unpickled. Rows and files that cannot be read are listed in ``read_errors``.

    Raises FileNotFoundError if ``path`` is none of these, and ValueError if it has no such metric, parameter or study,
    or if ``mode`` contradicts the direction of an Optuna study.

    >>> load_study(path)
    <StudyData: 60 trials, 360 epochs, 6 hyperparameters, metric best_val_acc (max)>
    """
    if mode not in ("max", "min", None):
        raise ValueError(f"mode is {mode!r}; choose max or min")
    default: Mode | None = "min" if metric is not None and LOWER_IS_BETTER.search(metric) else None
    read_errors: ReadErrors = []
    frames = _read(path, metric, mode, default, study, parameters, read_errors)
    if parameters is not None:
        frames = frames._replace(parameters=select_parameters(frames.trials, frames.parameters, parameters))
    errors = pd.DataFrame(read_errors, columns=READ_ERROR_COLUMNS)
    return StudyData(
        *frames[:4], read_errors=errors, metric=frames.metric, mode=frames.mode, step=frames.step, path=Path(path)
    )


def _read(
    path: str | Path,
    metric: str | None,
    mode: Mode | None,
    default: Mode | None,
    study: str | None,
    parameters: Sequence[str] | None,
    read_errors: ReadErrors,
) -> Frames:
    place = Path(path)
    chosen: Mode = mode or default or "max"
    if study is not None and (place.is_dir() or is_wandb_csv(place)):
        raise ValueError(f"{place} is not an Optuna database and holds one study; leave out the study name {study}")
    if place.is_dir():
        if is_study_dir(place):
            return read_study_dir(place, metric, mode or default, read_errors)
        if is_ray_tune_dir(place):
            return read_ray_tune(place, metric, chosen, parameters, read_errors)
        missing = [name for name in (STUDY_JSON, TRIALS_CSV, HISTORY_CSV) if not (place / name).is_file()]
        raise FileNotFoundError(
            f"{place} is not a study directory: it has no {', '.join(missing)}; nor is it a Ray Tune experiment: "
            "it has no experiment_state-*.json and no folder with result.json, progress.csv or params.json"
        )
    if is_wandb_csv(place):
        return read_wandb_csv(place, metric, chosen, parameters, read_errors)
    from analysis.readers import optuna_db  # imported here because importing Optuna takes half a second

    return optuna_db.read_optuna(path, metric, mode, study, read_errors, default)
