"""Our own study directory, also of a search that is still writing it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.readers.frames import (
    OBJECTIVE,
    WHOLE,
    Broken,
    Frames,
    Mode,
    best_of_trials,
    choose_metric,
    finish,
    without_repeats,
)
from analysis.readers.tables import read_table
from analysis.schema import (
    BEST_VAL_ACC,
    EPOCH,
    HISTORY_COLUMNS,
    HISTORY_CSV,
    SECONDS,
    STUDY_JSON,
    TRIAL_COLUMNS_AFTER,
    TRIAL_COLUMNS_BEFORE,
    TRIAL_ID,
    TRIALS_CSV,
    VAL_ACC,
)

MEASURED = HISTORY_COLUMNS[1:]


def is_study_dir(directory: Path) -> bool:
    """Whether it is a study directory, as far as one can see from its files."""
    return (directory / TRIALS_CSV).is_file()


def read_study_dir(directory: Path, metric: str | None, mode: Mode, broken: Broken) -> Frames:
    """The frames of a study directory; without ``metric`` the best values are those that the search recorded."""
    history = read_history(directory, broken)  # first: what it has is then in trials.csv, which is written later
    trials = read_trials(directory, broken)
    history = _of_known_trials(history, trials, broken)
    if (metric or BEST_VAL_ACC, mode) != (BEST_VAL_ACC, "max"):
        known = [name for name in MEASURED[1:] if history[name].notna().any()]
        metric = choose_metric(metric or VAL_ACC, known, known)
        history = history.assign(**{OBJECTIVE: history[metric], VAL_ACC: history[metric]})
        trials = trials.assign(**{BEST_VAL_ACC: trials[TRIAL_ID].map(best_of_trials(history, mode))})
    parameters = [name for name in trials if name not in (*TRIAL_COLUMNS_BEFORE, *TRIAL_COLUMNS_AFTER)]
    frames = finish(trials, history, read_info(directory, broken), parameters, parameters)
    return frames._replace(metric=metric or BEST_VAL_ACC, mode=mode)


def read_trials(directory: Path, broken: Broken) -> pd.DataFrame:
    """trials.csv, of a trial that is in it twice the last row."""
    trials = read_table(directory / TRIALS_CSV, TRIALS_CSV, broken, numeric=(BEST_VAL_ACC, SECONDS, *WHOLE))
    if TRIAL_ID not in trials:
        return pd.DataFrame(columns=[*TRIAL_COLUMNS_BEFORE, *TRIAL_COLUMNS_AFTER])
    return _whole(trials, [TRIAL_ID], TRIALS_CSV, broken).drop_duplicates(TRIAL_ID, keep="last")


def read_history(directory: Path, broken: Broken) -> pd.DataFrame:
    """history.csv, each epoch once; empty if the file is not there."""
    try:
        history = read_table(directory / HISTORY_CSV, HISTORY_CSV, broken, numeric=MEASURED)
    except OSError as error:
        broken.append((HISTORY_CSV, error.strerror or str(error)))
        history = pd.DataFrame()
    if not {TRIAL_ID, EPOCH} <= set(history):
        return pd.DataFrame(columns=list(HISTORY_COLUMNS))
    history = history.reindex(columns=list(HISTORY_COLUMNS)).replace({EPOCH: {np.inf: np.nan, -np.inf: np.nan}})
    return without_repeats(_whole(history, [TRIAL_ID, EPOCH], HISTORY_CSV, broken))


def read_info(directory: Path, broken: Broken) -> dict[str, Any]:
    """study.json; empty if it cannot be read."""
    try:
        info = json.loads((directory / STUDY_JSON).read_bytes())
    except (OSError, ValueError) as error:
        broken.append((STUDY_JSON, getattr(error, "strerror", None) or str(error)))
        return {}
    if not isinstance(info, dict):
        broken.append((STUDY_JSON, "is no JSON object"))
        return {}
    return info


def _whole(table: pd.DataFrame, needed: list[str], place: str, broken: Broken) -> pd.DataFrame:
    """The rows that have what is ``needed``."""
    lacking = table[needed].isna().any(axis=1)
    broken += [(f"{place} line {line}", f"has no {' or '.join(needed)}") for line in table.index[lacking]]
    return table[~lacking]


def _of_known_trials(history: pd.DataFrame, trials: pd.DataFrame, broken: Broken) -> pd.DataFrame:
    known = history[TRIAL_ID].isin(trials[TRIAL_ID])
    for trial_id, count in history.loc[~known, TRIAL_ID].value_counts(sort=False).items():
        broken.append((HISTORY_CSV, f"{count} rows of {trial_id}, which is not in {TRIALS_CSV}"))
    return history[known]
