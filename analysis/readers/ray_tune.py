"""Read the experiment directory of any Ray Tune run."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.readers.frames import (
    OBJECTIVE,
    Frames,
    Mode,
    ReadErrors,
    best_objectives,
    build_frames,
    choose_metric,
    drop_repeated_epochs,
    epochs_from_one,
    parameter_table,
    select_parameters,
)
from analysis.readers.ray_tune_files import STATES, TuneTrial, read_folder, read_states, store_results, trial_folders
from analysis.schema import (
    BEST_VAL_ACC,
    COMPLETED,
    CREATED,
    EPOCH,
    EPOCHS,
    ERROR,
    FAILED,
    HISTORY_COLUMNS,
    NAME,
    NODE,
    RUNNING,
    SECONDS,
    STATE,
    STOPPED,
    TRAINABLE,
    TRIAL_ID,
    VAL_ACC,
)

ITERATION, DURATION = "training_iteration", "time_this_iter_s"
# Keys that Tune adds to each result.
TUNE_RESULT_KEYS = {
    ITERATION, DURATION, "timestamp", "done", "pid", "time_total_s", "time_since_restore", "iterations_since_restore",
    "should_checkpoint", "timesteps_total", "episodes_total", "timesteps_since_restore",
}  # fmt: skip
TERMINATED, ERRORED = "TERMINATED", "ERROR"


def is_ray_tune_dir(directory: Path) -> bool:
    """Whether Tune wrote ``directory``."""
    return any(directory.glob(STATES)) or bool(trial_folders(directory))


def read_ray_tune(
    directory: Path, metric: str | None, mode: Mode, parameters: Sequence[str] | None, read_errors: ReadErrors
) -> Frames:
    """Read the tables of an experiment.

    The epoch of a result is its ``epoch``, counted from 1, or training_iteration if a result has no ``epoch``. Results
    that a trial reports after a restore replace its earlier results from that epoch on. ``created`` is the time at
    which a trial started.
    """
    names = (EPOCH, ITERATION, DURATION, *HISTORY_COLUMNS[2:-1], BEST_VAL_ACC, *([metric] if metric else []))
    names = tuple(dict.fromkeys(names))
    found = _read_trials(directory, names, read_errors)
    results = _results(found, names)
    if len(results):
        metric = choose_metric(metric, [name for name in names if results[name].notna().any()], _numeric_columns(found))
    metric = metric or BEST_VAL_ACC  # no trial has reported yet
    history = _history(results, found, metric, read_errors)
    trials = _table(found, history, mode)
    settings = parameter_table([trial.params or {} for trial in found])
    columns = list(settings)
    info = {"source": "Ray Tune", "metric": metric, "mode": mode}
    frames = build_frames(pd.concat([trials, settings], axis=1), history, info, columns, [])
    selected = select_parameters(frames.trials, columns, parameters)
    step = ITERATION if len(results) and not results[EPOCH].notna().all() else EPOCH
    return frames._replace(parameters=selected, metric=metric, mode=mode, step=step)


def _read_trials(directory: Path, keys: tuple[str, ...], read_errors: ReadErrors) -> list[TuneTrial]:
    """All trials in order of their folders, including trials without a folder."""
    trials = read_states(directory, read_errors)
    folders = {path.name: path for path in trial_folders(directory)}
    for name, path in folders.items():
        trial = trials.setdefault(name, TuneTrial(name))
        try:
            read_folder(trial, path, keys, read_errors)
        except OSError as error:
            read_errors.append((name, error.strerror or str(error)))
    for trial in trials.values():
        if trial.folder not in folders and (result := trial.runtime.get("last_result")):
            store_results(trial, [result], keys)
            read_errors.append((trial.folder, "the trial's folder is missing; only its last result is known"))
        if trial.params is None:
            trial.params = _config_from_state(trial)
        if trial.params is None:
            read_errors.append((trial.folder, "the trial's parameters are unknown: it has no params.json"))
    return [trials[name] for name in sorted(trials)]


def _config_from_state(trial: TuneTrial) -> dict[str, Any] | None:
    """The configuration in the experiment state, without its pickled values."""
    config = trial.state.get("config")
    if not isinstance(config, dict):
        return None
    return {name: value for name, value in config.items() if not (isinstance(value, dict) and "_type" in value)}


def _numeric_columns(trials: Iterable[TuneTrial]) -> list[str]:
    """Names of the numbers in the last results of all trials."""
    names = {
        name: None
        for trial in trials
        for name, value in trial.last.items()
        if isinstance(value, Real) and not isinstance(value, bool) and not name.startswith("config/")
    }
    return [name for name in names if name not in TUNE_RESULT_KEYS]


def _results(trials: list[TuneTrial], names: tuple[str, ...]) -> pd.DataFrame:
    """All results of all trials as numbers; trial_id is the position of the trial in ``trials``."""
    results = pd.DataFrame(
        [(i, *row) for i, trial in enumerate(trials) for row in trial.rows], columns=[TRIAL_ID, *names]
    )
    # Tune's JSON has the string "null" for NumPy's NaN.
    return results.assign(**{name: pd.to_numeric(results[name], errors="coerce").astype(float) for name in names})


def _history(history: pd.DataFrame, trials: list[TuneTrial], metric: str, read_errors: ReadErrors) -> pd.DataFrame:
    """One row per trial and epoch, with the metric in the column OBJECTIVE."""
    epochs = history[EPOCH] if history[EPOCH].notna().all() else history[ITERATION]
    usable = epochs.notna() & np.isfinite(epochs)
    for i, count in history.loc[~usable, TRIAL_ID].value_counts(sort=False).items():
        read_errors.append((trials[i].folder, f"{count} results without an epoch number"))
    history, epochs = history[usable], epochs[usable].astype("int64")
    values = history[metric] if metric != BEST_VAL_ACC or history[VAL_ACC].isna().all() else history[VAL_ACC]
    return drop_repeated_epochs(
        history.assign(
            **{EPOCH: epochs_from_one(epochs), SECONDS: history[DURATION], OBJECTIVE: history[metric], VAL_ACC: values}
        )
    )


def _table(trials: list[TuneTrial], history: pd.DataFrame, mode: Mode) -> pd.DataFrame:
    """One row per trial, without its parameters; replaces the trial numbers in ``history`` by trial ids."""
    numbers = pd.RangeIndex(len(trials))
    epochs = history.groupby(TRIAL_ID)[EPOCH].max().reindex(numbers, fill_value=0)
    states = [state_of(trial, epochs[i], epochs.max()) for i, trial in enumerate(trials)]
    table = pd.DataFrame(
        {
            TRIAL_ID: _ids(trials),
            NAME: [trial.state.get("experiment_tag") or trial.folder for trial in trials],
            STATE: states,
            BEST_VAL_ACC: best_objectives(history, mode).reindex(numbers),
            TRAINABLE: [trial.last.get(TRAINABLE) for trial in trials],
            EPOCHS: epochs,
            SECONDS: history.groupby(TRIAL_ID)[SECONDS].sum().reindex(numbers, fill_value=0.0),
            CREATED: [_start_time(trial) for trial in trials],
            NODE: [trial.last.get("hostname") for trial in trials],
            ERROR: [trial.error if state == FAILED else None for trial, state in zip(trials, states, strict=True)],
        },
        index=numbers,
    )
    history[TRIAL_ID] = history[TRIAL_ID].map(table[TRIAL_ID])
    return table


def _ids(trials: list[TuneTrial]) -> list[str]:
    """Tune's trial ids; the folder's name for a trial without an id, or with the id of another folder."""
    ids = [str(trial.state.get("trial_id") or trial.last.get("trial_id") or trial.folder) for trial in trials]
    return [i if ids.count(i) == 1 else trial.folder for i, trial in zip(ids, trials, strict=True)]


def _status(trial: TuneTrial) -> str:
    """Tune's status of a trial; without an experiment state, the status inferred from the trial's files."""
    if "status" in trial.state:
        return str(trial.state["status"])
    if trial.error is not None:
        return ERRORED
    return TERMINATED if trial.last.get("done") is True else RUNNING


def state_of(trial: TuneTrial, epochs: int, max_epochs: int) -> str:
    """The state of a trial in a study: running, completed, stopped or failed.

    Tune gives every trial that did not raise the status TERMINATED. The key ``done`` tells how such a trial ended:

    - ``done`` in the last line of result.json: the scheduler or a stopping criterion ended the trial. It is completed
      if it met the criterion of ``stop=`` or has ``max_epochs``, the epochs of the longest trial; otherwise stopped.
    - ``done`` only in the experiment state: the training function returned. The trial is completed.
    - ``done`` in neither: all trials ended at once, for example at a time budget. The trial is stopped.
    """
    status = _status(trial)
    if status != TERMINATED:
        return FAILED if status == ERRORED else RUNNING
    if trial.last.get("done") in (True, "True"):
        return COMPLETED if epochs >= max_epochs or _met_criterion(trial) else STOPPED
    return COMPLETED if trial.runtime.get("last_result", {}).get("done", True) else STOPPED


def _met_criterion(trial: TuneTrial) -> bool:
    criteria = trial.state.get("stopping_criterion", {})
    pairs = ((trial.last.get(name), bound) for name, bound in criteria.items())
    return any(isinstance(value, Real) and isinstance(bound, Real) and value >= bound for value, bound in pairs)


def _start_time(trial: TuneTrial) -> str | None:
    """The start of the trial, or the time of its first result if the start is unknown; an ISO date in UTC."""
    seconds = trial.runtime.get("start_time") or trial.first_time
    try:
        return datetime.fromtimestamp(float(seconds), UTC).isoformat() if seconds is not None else None
    except (ValueError, TypeError, OverflowError, OSError):
        return None
