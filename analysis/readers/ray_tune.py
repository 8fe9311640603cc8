"""A plain Ray Tune experiment directory."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.readers.frames import (
    OBJECTIVE,
    Broken,
    Frames,
    Mode,
    best_of_trials,
    choose_metric,
    chosen,
    counted_from_one,
    finish,
    settings_of,
    without_repeats,
)
from analysis.readers.ray_tune_files import STATES, TuneTrial, read_folder, read_states, take_results, trial_folders
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
# What Tune adds to each result.
TUNES_OWN = {
    ITERATION, DURATION, "timestamp", "done", "pid", "time_total_s", "time_since_restore", "iterations_since_restore",
    "should_checkpoint", "timesteps_total", "episodes_total", "timesteps_since_restore",
}  # fmt: skip
ENDED, ERRED = "TERMINATED", "ERROR"


def is_tune(directory: Path) -> bool:
    """Whether Tune wrote this directory."""
    return any(directory.glob(STATES)) or bool(trial_folders(directory))


def read_tune(
    directory: Path, metric: str | None, mode: Mode, parameters: Sequence[str] | None, broken: Broken
) -> Frames:
    """The frames of an experiment.

    The history's epoch is the reported ``epoch``, counted from 1, or, where a result has none, training_iteration. What
    a trial reported again after a restore replaces what it had reported from there on. ``created`` is when it started.
    """
    names = (EPOCH, ITERATION, DURATION, *HISTORY_COLUMNS[2:-1], BEST_VAL_ACC, *([metric] if metric else []))
    names = tuple(dict.fromkeys(names))
    found = _read_trials(directory, names, broken)
    results = _results(found, names)
    if len(results):
        metric = choose_metric(metric, [name for name in names if results[name].notna().any()], _numeric_columns(found))
    metric = metric or BEST_VAL_ACC  # of an experiment that has just begun
    history = _history(results, found, metric, broken)
    trials = _table(found, history, mode)
    settings = settings_of([trial.params or {} for trial in found])
    columns = list(settings)
    info = {"source": "Ray Tune", "metric": metric, "mode": mode}
    frames = finish(pd.concat([trials, settings], axis=1), history, info, columns, [])
    return frames._replace(parameters=chosen(frames.trials, columns, parameters), metric=metric, mode=mode)


def _read_trials(directory: Path, wanted: tuple[str, ...], broken: Broken) -> list[TuneTrial]:
    """All trials, those without a folder too, in order of their folders."""
    trials = read_states(directory, broken)
    folders = {path.name: path for path in trial_folders(directory)}
    for name, path in folders.items():
        trial = trials.setdefault(name, TuneTrial(name))
        try:
            read_folder(trial, path, wanted, broken)
        except OSError as error:
            broken.append((name, error.strerror or str(error)))
    for trial in trials.values():
        if trial.folder not in folders and (result := trial.runtime.get("last_result")):
            take_results(trial, [result], wanted)
            broken.append((trial.folder, "the trial's folder is missing; only its last result is known"))
        if trial.params is None:
            trial.params = _config_of_state(trial)
        if trial.params is None:
            broken.append((trial.folder, "the trial's parameters are not known: it has no params.json"))
    return [trials[name] for name in sorted(trials)]


def _config_of_state(trial: TuneTrial) -> dict[str, Any] | None:
    """The configuration in the experiment state, without the values that only unpickling would show."""
    config = trial.state.get("config")
    if not isinstance(config, dict):
        return None
    return {name: value for name, value in config.items() if not (isinstance(value, dict) and "_type" in value)}


def _numeric_columns(trials: Iterable[TuneTrial]) -> list[str]:
    """Names of all numbers that trials reported with their last results."""
    names = {
        name: None
        for trial in trials
        for name, value in trial.last.items()
        if isinstance(value, Real) and not isinstance(value, bool) and not name.startswith("config/")
    }
    return [name for name in names if name not in TUNES_OWN]


def _results(trials: list[TuneTrial], names: tuple[str, ...]) -> pd.DataFrame:
    """All results of all trials, as numbers; the trials are numbered."""
    results = pd.DataFrame(
        [(i, *row) for i, trial in enumerate(trials) for row in trial.rows], columns=[TRIAL_ID, *names]
    )
    # NumPy's NaN stands in Tune's JSON as the string "null".
    return results.assign(**{name: pd.to_numeric(results[name], errors="coerce").astype(float) for name in names})


def _history(history: pd.DataFrame, trials: list[TuneTrial], metric: str, broken: Broken) -> pd.DataFrame:
    """One row a trial and epoch, with the metric as OBJECTIVE."""
    epochs = history[EPOCH] if history[EPOCH].notna().all() else history[ITERATION]
    usable = epochs.notna() & np.isfinite(epochs)
    for i, count in history.loc[~usable, TRIAL_ID].value_counts(sort=False).items():
        broken.append((trials[i].folder, f"{count} results without a number of the epoch"))
    history, epochs = history[usable], epochs[usable].astype("int64")
    values = history[metric] if metric != BEST_VAL_ACC or history[VAL_ACC].isna().all() else history[VAL_ACC]
    return without_repeats(
        history.assign(
            **{EPOCH: counted_from_one(epochs), SECONDS: history[DURATION], OBJECTIVE: history[metric], VAL_ACC: values}
        )
    )


def _table(trials: list[TuneTrial], history: pd.DataFrame, mode: Mode) -> pd.DataFrame:
    """One row a trial, without its parameters; gives ``history`` the trials' ids."""
    numbers = pd.RangeIndex(len(trials))
    epochs = history.groupby(TRIAL_ID)[EPOCH].max().reindex(numbers, fill_value=0)
    states = [state_of(trial, epochs[i], epochs.max()) for i, trial in enumerate(trials)]
    table = pd.DataFrame(
        {
            TRIAL_ID: _ids(trials),
            NAME: [trial.state.get("experiment_tag") or trial.folder for trial in trials],
            STATE: states,
            BEST_VAL_ACC: best_of_trials(history, mode).reindex(numbers),
            TRAINABLE: [trial.last.get(TRAINABLE) for trial in trials],
            EPOCHS: epochs,
            SECONDS: history.groupby(TRIAL_ID)[SECONDS].sum().reindex(numbers, fill_value=0.0),
            CREATED: [_started(trial) for trial in trials],
            NODE: [trial.last.get("hostname") for trial in trials],
            ERROR: [trial.error if state == FAILED else None for trial, state in zip(trials, states, strict=True)],
        },
        index=numbers,
    )
    history[TRIAL_ID] = history[TRIAL_ID].map(table[TRIAL_ID])
    return table


def _ids(trials: list[TuneTrial]) -> list[str]:
    """Tune's ids of the trials; the folder's name where there is none, or two folders have the same."""
    ids = [str(trial.state.get("trial_id") or trial.last.get("trial_id") or trial.folder) for trial in trials]
    return [i if ids.count(i) == 1 else trial.folder for i, trial in zip(ids, trials, strict=True)]


def _status(trial: TuneTrial) -> str:
    """Tune's status; without an experiment state, the one that the files speak for."""
    if "status" in trial.state:
        return str(trial.state["status"])
    if trial.error is not None:
        return ERRED
    return ENDED if trial.last.get("done") is True else RUNNING


def state_of(trial: TuneTrial, epochs: int, most_epochs: int) -> str:
    """Our state of a trial.

    Tune calls each trial TERMINATED that did not raise, but two of its marks tell how it ended. ``done`` in the last
    line of result.json: Tune ended it, by its scheduler or a criterion; that is ``completed`` where the trial met the
    criterion of ``stop=`` or has as many epochs as any other trial (``most_epochs``), else ``stopped``. ``done`` only
    in the experiment state: the function came to its end, ``completed``. In neither: all trials were ended at once,
    as a time budget does, ``stopped``.
    """
    status = _status(trial)
    if status != ENDED:
        return FAILED if status == ERRED else RUNNING
    if trial.last.get("done") in (True, "True"):
        return COMPLETED if epochs >= most_epochs or _met_criterion(trial) else STOPPED
    return COMPLETED if trial.runtime.get("last_result", {}).get("done", True) else STOPPED


def _met_criterion(trial: TuneTrial) -> bool:
    criteria = trial.state.get("stopping_criterion", {})
    reached = ((trial.last.get(name), least) for name, least in criteria.items())
    return any(isinstance(value, Real) and isinstance(least, Real) and value >= least for value, least in reached)


def _started(trial: TuneTrial) -> str | None:
    """When the trial started, or, if that is not known, reported first; an ISO date in UTC."""
    seconds = trial.runtime.get("start_time") or trial.first_time
    try:
        return datetime.fromtimestamp(float(seconds), UTC).isoformat() if seconds is not None else None
    except (ValueError, TypeError, OverflowError, OSError):
        return None
