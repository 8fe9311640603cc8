"""Read a CSV of W&B runs, one row per run: exported from the table of runs, or written with W&B's API."""

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from analysis.files import check_regular
from analysis.readers.frames import (
    Frames,
    Mode,
    ReadErrors,
    as_text,
    build_frames,
    choose_metric,
    parameter_column,
    select_parameters,
)
from analysis.readers.tables import parse_numbers, read_table
from analysis.readers.wandb_api import expand_dictionaries, is_api_export
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
)

# Killed: ended by a sweep or a user. Crashed: stopped sending heartbeats. Failed: raised an exception.
STATES = {"finished": COMPLETED, "killed": STOPPED, "preempted": STOPPED, "crashed": FAILED, "failed": FAILED}
RUN_ID, RUN_NAME, RUN_STATE, RUN_CREATED, RUNTIME, HOST = "ID", "Name", "State", "Created", "Runtime", "Hostname"
# W&B's own columns, none of which is a hyperparameter.
WANDB_COLUMNS = {
    RUN_ID, RUN_NAME, RUN_STATE, RUN_CREATED, RUNTIME, HOST, "Agent", "Notes", "User", "Tags", "Updated", "End Time",
    "Sweep", "Group", "Job Type", "Command", "Commit", "GPU Count", "GPU Type", "CPU Count", "Github", "GitHub", "OS",
    "Python Version", "Host", "Project", "Description", "Duration", "Heartbeat",
}  # fmt: skip
# A column whose name contains one of these words is a metric, not a hyperparameter: val_acc, train/loss, test_f1.
METRIC_WORDS = {
    "acc", "accuracy", "loss", "train", "val", "valid", "validation", "test", "best", "epoch", "step", "f1", "auc",
    "auroc", "recall", "runtime", "seconds", "time", "timestamp", "iteration", "trainable",
}  # fmt: skip


STEPS = ("_step", "step", "global_step", "trainer/global_step")
MAX_HEADER = 1_000_000  # characters


def is_wandb_csv(path: Path) -> bool:
    """Whether the header has the columns Name and State, or summary, config and name."""
    try:
        check_regular(path)
        with path.open(encoding="utf-8-sig", newline="") as file:
            columns = set(next(csv.reader(io.StringIO(file.read(MAX_HEADER), newline="")), []))
            return {RUN_NAME, RUN_STATE} <= columns or is_api_export(columns)
    except (OSError, UnicodeDecodeError, csv.Error):
        return False


def read_wandb_csv(
    path: Path, metric: str | None, mode: Mode, parameters: Sequence[str] | None, read_errors: ReadErrors
) -> Frames:
    """Read the tables of an export; best_val_acc is the exported value of the metric, by default the run's last one.

    Only the table written with the API tells hyperparameters from metrics; for the other, ``_config_columns`` guesses.
    ``epochs`` is the logged column epoch, or else W&B's own count of steps. There is no history.
    """
    table = read_table(path, path.name, read_errors, needs_line_end=False)
    known_config = None
    if is_api_export(table.columns):
        table, known_config = expand_dictionaries(table, path.name, read_errors)
    numeric = [name for name in table if not _is_wandb_column(name) and _has_numbers(table[name])]
    metric = choose_metric(metric, numeric, numeric)
    table = parse_numbers(table, [metric], path.name, read_errors)
    requested = [] if parameters is None else list(parameters)
    config = set(_config_columns(table.columns, metric) if known_config is None else known_config) - {metric}
    columns = [name for name in table if name in requested or name in config]
    created = pd.to_datetime(table.get(RUN_CREATED, pd.Series(index=table.index, dtype="str")), utc=True,
                             errors="coerce", format="mixed")  # fmt: skip
    missing = pd.Series(index=table.index, dtype=float)
    counter = next((name for name in (EPOCH, *STEPS) if name in table and _has_numbers(table[name])), EPOCH)
    trials = pd.DataFrame(
        {
            TRIAL_ID: _ids(table),
            NAME: table[RUN_NAME],
            STATE: as_text(table[RUN_STATE]).str.lower().map(STATES).fillna(RUNNING),
            **{parameter_column(name): table[name] for name in columns},
            BEST_VAL_ACC: table[metric],
            TRAINABLE: table.get(TRAINABLE, missing),
            EPOCHS: table.get(counter, missing),
            SECONDS: _seconds(table.get(RUNTIME, missing)),
            CREATED: created,
            NODE: table.get(HOST, missing),
            ERROR: missing,
        }
    )
    candidates = [parameter_column(name) for name in columns]
    info = {"source": "W&B", "metric": metric, "mode": mode}
    frames = build_frames(trials, pd.DataFrame(columns=list(HISTORY_COLUMNS)), info, candidates, [])
    selected = select_parameters(frames.trials, candidates, parameters)
    return frames._replace(parameters=selected, metric=metric, mode=mode, step=counter)


def _has_numbers(column: pd.Series) -> bool:
    return column.dtype != bool and bool(pd.to_numeric(column, errors="coerce").notna().any())


def _config_columns(columns: Sequence[str], metric: str) -> list[str]:
    """Guess the columns of hyperparameters.

    W&B writes its own columns, then the configuration in alphabetical order, then the summary in alphabetical order.
    The configuration therefore ends where the alphabet starts again. If it starts again more than once (a rearranged
    table), or the metric does not come after that place, the names decide: see METRIC_WORDS.
    """
    names = [name for name in columns if not _is_wandb_column(name)]
    restarts = [i for i in range(1, len(names)) if names[i].lower() < names[i - 1].lower()]
    if len(restarts) == 1 and metric in names[restarts[0] :]:
        return names[: restarts[0]]
    return [name for name in names if not METRIC_WORDS & set(re.split(r"[_/. -]", name.lower()))]


def _is_wandb_column(name: str) -> bool:
    return name in WANDB_COLUMNS or name.startswith("_")


def _ids(table: pd.DataFrame) -> pd.Series:
    """The runs' ids, or their names if there are no ids; repeated ones become "name-2", "name-3", ..."""
    ids = as_text(table[RUN_ID] if RUN_ID in table else table[RUN_NAME]).fillna("run")
    count = ids.groupby(ids).cumcount() + 1
    return ids.where(count.eq(1), ids + "-" + count.astype("str"))


def _seconds(runtime: pd.Series) -> pd.Series:
    """Runtime in seconds; the table has it as 3725 or as "1h 2m 5s"."""
    if pd.api.types.is_numeric_dtype(runtime):
        return runtime
    return pd.to_timedelta(runtime, errors="coerce").dt.total_seconds().fillna(pd.to_numeric(runtime, errors="coerce"))
