"""Read a study directory written by `inat`, also while a search is still writing to it."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.files import read_json
from analysis.objective import ACCURACY, Objective, objective_named, objective_of
from analysis.readers.equal_cost import at_equal_cost
from analysis.readers.frames import (
    EXACT_INTEGERS,
    INTEGER_COLUMNS,
    OBJECTIVE,
    OPTIONAL,
    Frames,
    Mode,
    ReadErrors,
    best_objectives,
    build_frames,
    choose_metric,
    drop_repeated_epochs,
)
from analysis.readers.tables import read_table, unescape
from analysis.rungs import rung_milestones
from analysis.schema import (
    BEST_VAL_ACC,
    COMPARED_AT,
    EPOCH,
    FOLD,
    HISTORY_COLUMNS,
    HISTORY_CSV,
    METRIC,
    RECIPE_EPOCH,
    SECONDS,
    STANDARD_ERROR,
    STUDY_JSON,
    TRIAL_COLUMNS_AFTER,
    TRIAL_COLUMNS_BEFORE,
    TRIAL_ID,
    TRIALS_CSV,
    VAL_ACC,
)

KNOWN_COLUMNS = (*TRIAL_COLUMNS_BEFORE, *TRIAL_COLUMNS_AFTER, *OPTIONAL)
NUMERIC_COLUMNS = HISTORY_COLUMNS[1:]
# The lowest value of the settings that a report computes with.
LOWEST = {"num_samples": 0, "max_epochs": 1, "grace_period": 1, "reduction_factor": 2, "max_concurrent": 1}


def is_study_dir(directory: Path) -> bool:
    """Whether ``directory`` has a trials.csv."""
    return (directory / TRIALS_CSV).is_file()


def read_study_dir(directory: Path, metric: str | None, mode: Mode | None, read_errors: ReadErrors) -> Frames:
    """Read the tables of a study directory.

    Without ``metric`` and ``mode``, best_val_acc is the best value that the search recorded, and val_acc the metric
    that it optimised. With folds, another metric is that of the first one, as the history is.
    """
    errors_of_info: ReadErrors = []
    info = read_info(directory, errors_of_info)
    objective = read_objective(info, errors_of_info)
    # history.csv first: a search writes trials.csv later, so trials.csv then knows every trial of history.csv.
    history = read_history(directory, read_errors)
    trials = read_trials(directory, read_errors, objective.best_column)
    history = _drop_unknown_trials(history, trials, read_errors)
    own = (objective.best_column, objective.mode)
    if (metric or objective.best_column, mode or objective.mode) == own:
        metric, mode = own
        if objective is not ACCURACY:
            history = history.assign(**{VAL_ACC: history[objective.column]})
    else:
        best_of = objective_named(metric or objective.best_column)
        metric, mode = best_of.column if best_of else metric, mode or "max"
        recorded = [name for name in NUMERIC_COLUMNS[1:] if history[name].notna().any()]
        metric = choose_metric(metric, recorded, recorded)
        history = history.assign(**{OBJECTIVE: history[metric], VAL_ACC: history[metric]})
        trials = trials.assign(**{BEST_VAL_ACC: trials[TRIAL_ID].map(best_objectives(history, mode))})
        trials = trials.drop(columns=STANDARD_ERROR, errors="ignore")  # that of the search's metric
    read_errors += errors_of_info
    step = RECIPE_EPOCH if info.get(COMPARED_AT) == RECIPE_EPOCH else EPOCH
    if step == RECIPE_EPOCH:
        trials, history = at_equal_cost(trials, history, mode, _rungs(info["config"]))
    parameters = [name for name in trials if name not in KNOWN_COLUMNS]
    return build_frames(trials, history, info, parameters, parameters)._replace(metric=metric, mode=mode, step=step)


def read_objective(info: dict[str, Any], read_errors: ReadErrors) -> Objective:
    """What the search optimised; the accuracy, and an entry in ``read_errors``, if this version does not know it."""
    try:
        return objective_of(info)
    except (KeyError, TypeError):
        read_errors.append((STUDY_JSON, f"unknown metric {info['config'][METRIC]!r:.40}"))
        return ACCURACY


def read_trials(directory: Path, read_errors: ReadErrors, best_column: str = BEST_VAL_ACC) -> pd.DataFrame:
    """Read trials.csv, with its ``best_column`` as best_val_acc; if a trial has several rows, keep the last one."""
    numeric = (best_column, SECONDS, *INTEGER_COLUMNS, *OPTIONAL)
    trials = unescape(read_table(directory / TRIALS_CSV, TRIALS_CSV, read_errors, numeric=numeric, inside=directory))
    trials = trials.rename(columns={best_column: BEST_VAL_ACC})
    if TRIAL_ID not in trials:
        return pd.DataFrame(columns=[*TRIAL_COLUMNS_BEFORE, *TRIAL_COLUMNS_AFTER])
    return _drop_incomplete(trials, [TRIAL_ID], TRIALS_CSV, read_errors).drop_duplicates(TRIAL_ID, keep="last")


def read_history(directory: Path, read_errors: ReadErrors) -> pd.DataFrame:
    """Read history.csv, each epoch once; return an empty table if the file does not exist.

    Of a trial that trains several times, with --folds or --repeats, only the first training is kept: patience ends
    trainings at different epochs, so only epochs of the first one can be compared between trials.
    """
    try:
        history = read_table(
            directory / HISTORY_CSV, HISTORY_CSV, read_errors, numeric=NUMERIC_COLUMNS, inside=directory
        )
    except OSError as error:
        read_errors.append((HISTORY_CSV, error.strerror or str(error)))
        history = pd.DataFrame()
    if not {TRIAL_ID, EPOCH} <= set(history):
        return pd.DataFrame(columns=list(HISTORY_COLUMNS))
    if FOLD in history:
        history = history[~(pd.to_numeric(history[FOLD], errors="coerce") > 1)]
    history = history.reindex(columns=list(HISTORY_COLUMNS)).replace({EPOCH: {np.inf: np.nan, -np.inf: np.nan}})
    return drop_repeated_epochs(_drop_incomplete(history, [TRIAL_ID, EPOCH], HISTORY_CSV, read_errors))


def read_info(directory: Path, read_errors: ReadErrors) -> dict[str, Any]:
    """Read study.json; return an empty dictionary if it cannot be read."""
    try:
        info = read_json(directory / STUDY_JSON, inside=directory)
    except (OSError, ValueError) as error:
        read_errors.append((STUDY_JSON, getattr(error, "strerror", None) or str(error)))
        return {}
    if not isinstance(info, dict):
        read_errors.append((STUDY_JSON, "not a JSON object"))
        return {}
    return info | {"config": _usable_settings(info.get("config"), read_errors)}


def _rungs(config: dict[str, Any]) -> list[int]:
    """Where ASHA compared the trials of a search, and their end; empty if study.json does not say."""
    grace, factor, most = (config.get(name) for name in ("grace_period", "reduction_factor", "max_epochs"))
    return [*rung_milestones(grace, factor, most), most] if grace and factor and most else []


def _usable_settings(config: Any, read_errors: ReadErrors) -> dict[str, Any]:
    """The configuration without the numbers that no search can have, such as a reduction factor of 1."""
    settings = config if isinstance(config, dict) else {}
    wrong = [name for name, lowest in LOWEST.items() if not _is_count(settings.get(name), lowest)]
    read_errors += [(STUDY_JSON, f"{name} is {settings[name]!r:.40}") for name in wrong]
    return {name: value for name, value in settings.items() if name not in wrong}


def _is_count(value: Any, lowest: int) -> bool:
    return value is None or (type(value) is int and lowest <= value < EXACT_INTEGERS)


def _drop_incomplete(table: pd.DataFrame, required: list[str], place: str, read_errors: ReadErrors) -> pd.DataFrame:
    """Drop and record the rows without a value in a ``required`` column."""
    incomplete = table[required].isna().any(axis=1)
    read_errors += [(f"{place} line {line}", f"has no {' or '.join(required)}") for line in table.index[incomplete]]
    return table[~incomplete]


def _drop_unknown_trials(history: pd.DataFrame, trials: pd.DataFrame, read_errors: ReadErrors) -> pd.DataFrame:
    """Drop and record the epochs of trials that trials.csv does not list."""
    known = history[TRIAL_ID].isin(trials[TRIAL_ID])
    for trial_id, count in history.loc[~known, TRIAL_ID].value_counts(sort=False).items():
        read_errors.append((HISTORY_CSV, f"{count} rows of {trial_id}, which is not in {TRIALS_CSV}"))
    return history[known]
