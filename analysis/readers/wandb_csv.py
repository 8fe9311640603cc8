"""The CSV that W&B exports from its table of runs, or that its API's documentation tells to write: one row a run."""

import csv
import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from analysis.readers.frames import Broken, Frames, Mode, as_text, choose_metric, chosen, column_name, finish
from analysis.readers.tables import read_table, with_numbers
from analysis.readers.wandb_api import is_of_dictionaries, unpack
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

# "Killed" is what a sweep or a user ended; "Crashed" is a run that sent no more heartbeats, "Failed" one that raised.
STATES = {"finished": COMPLETED, "killed": STOPPED, "preempted": STOPPED, "crashed": FAILED, "failed": FAILED}
RUN_ID, RUN_NAME, RUN_STATE, RUN_CREATED, RUNTIME, HOST = "ID", "Name", "State", "Created", "Runtime", "Hostname"
# Columns of the table itself, none of which is a hyperparameter.
W_AND_BS_OWN = {
    RUN_ID, RUN_NAME, RUN_STATE, RUN_CREATED, RUNTIME, HOST, "Agent", "Notes", "User", "Tags", "Updated", "End Time",
    "Sweep", "Group", "Job Type", "Command", "Commit", "GPU Count", "GPU Type", "CPU Count", "Github", "GitHub", "OS",
    "Python Version", "Host", "Project", "Description", "Duration", "Heartbeat",
}  # fmt: skip
# A word in a name that says that the column was measured, not set: val_acc, train/loss, best epoch, test_f1.
MEASURED = {
    "acc", "accuracy", "loss", "train", "val", "valid", "validation", "test", "best", "epoch", "step", "f1", "auc",
    "auroc", "recall", "runtime", "seconds", "time", "timestamp", "iteration", "trainable",
}  # fmt: skip


def is_wandb_csv(path: Path) -> bool:
    """Whether the first line names the columns Name and State, or summary, config and name."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            columns = set(next(csv.reader(file), []))
            return {RUN_NAME, RUN_STATE} <= columns or is_of_dictionaries(columns)
    except (OSError, UnicodeDecodeError, csv.Error):
        return False


def read_wandb_csv(
    path: Path, metric: str | None, mode: Mode, parameters: Sequence[str] | None, broken: Broken
) -> Frames:
    """The frames of an export; the metric is the value in the table, for W&B the run's last one unless told otherwise.

    Which columns were set, and which measured, is said by the file of the API only; see ``_set_columns`` for the other.
    ``epochs`` is the column epoch, as logged.
    """
    table = read_table(path, path.name, broken, needs_line_end=False)
    set_columns = None
    if is_of_dictionaries(table.columns):
        table, set_columns = unpack(table, path.name, broken)
    numeric = [name for name in table if not _is_own(name) and _has_numbers(table[name])]
    metric = choose_metric(metric, numeric, numeric)
    table = with_numbers(table, [metric], path.name, broken)
    wanted = [metric] if parameters is None else [metric, *parameters]
    was_set = set(_set_columns(table.columns, metric) if set_columns is None else set_columns)
    columns = [name for name in table if name in wanted[1:] or (name not in wanted and name in was_set)]
    created = pd.to_datetime(table.get(RUN_CREATED, pd.Series(index=table.index, dtype="str")), utc=True,
                             errors="coerce", format="mixed")  # fmt: skip
    missing = pd.Series(index=table.index, dtype=float)
    trials = pd.DataFrame(
        {
            TRIAL_ID: _ids(table),
            NAME: table[RUN_NAME],
            STATE: as_text(table[RUN_STATE]).str.lower().map(STATES).fillna(RUNNING),
            **{column_name(name): table[name] for name in columns},
            BEST_VAL_ACC: table[metric],
            TRAINABLE: table.get(TRAINABLE, missing),
            EPOCHS: table.get(EPOCH, missing),
            SECONDS: _seconds(table.get(RUNTIME, missing)),
            CREATED: created,
            NODE: table.get(HOST, missing),
            ERROR: missing,
        }
    )
    named = [column_name(name) for name in columns]
    info = {"source": "W&B", "metric": metric, "mode": mode}
    frames = finish(trials, pd.DataFrame(columns=list(HISTORY_COLUMNS)), info, named, [])
    return frames._replace(parameters=chosen(frames.trials, named, parameters), metric=metric, mode=mode)


def _has_numbers(column: pd.Series) -> bool:
    return column.dtype != bool and bool(pd.to_numeric(column, errors="coerce").notna().any())


def _set_columns(columns: Sequence[str], metric: str) -> list[str]:
    """The columns of hyperparameters.

    W&B writes its own columns, then those of the configuration, then those of the summary, the latter two by the
    alphabet: what was set ends where the alphabet begins anew. Where it does so more than once, as in a table that
    somebody rearranged, or the metric is not after it, set is what has no word such as loss, acc or epoch in its name.
    """
    named = [name for name in columns if not _is_own(name)]
    starts = [i for i in range(1, len(named)) if named[i].lower() < named[i - 1].lower()]
    if len(starts) == 1 and metric in named[starts[0] :]:
        return named[: starts[0]]
    return [name for name in named if not MEASURED & set(re.split(r"[_/. -]", name.lower()))]


def _is_own(name: str) -> bool:
    return name in W_AND_BS_OWN or name.startswith("_")


def _ids(table: pd.DataFrame) -> pd.Series:
    """The runs' ids, or else their names, which need not differ: "name", "name-2", ..."""
    ids = as_text(table[RUN_ID] if RUN_ID in table else table[RUN_NAME]).fillna("run")
    count = ids.groupby(ids).cumcount() + 1
    return ids.where(count.eq(1), ids + "-" + count.astype("str"))


def _seconds(runtime: pd.Series) -> pd.Series:
    """Runtime in seconds, which the table writes as 3725 or as "1h 2m 5s"."""
    if pd.api.types.is_numeric_dtype(runtime):
        return runtime
    return pd.to_timedelta(runtime, errors="coerce").dt.total_seconds().fillna(pd.to_numeric(runtime, errors="coerce"))
