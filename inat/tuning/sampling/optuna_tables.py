"""Ended trials as rows of Optuna's SQLite database, the same as Optuna writes, without its object mapper.

``Study.add_trial`` reads and writes each hyperparameter in a statement of its own: 22 ms of processor time per trial,
more than everything else that a search does for a trial; these rows take 0.1 ms. tests/contracts/test_optuna.py
compares both. A database with other tables, of another version of Optuna, is left to Optuna.
"""

import json
import math
import sqlite3
from collections.abc import Sequence
from datetime import datetime

from optuna.distributions import distribution_to_json
from optuna.trial import FrozenTrial

TABLES = {
    "trials": ("trial_id", "number", "study_id", "state", "datetime_start", "datetime_complete"),
    "trial_params": ("param_id", "trial_id", "param_name", "param_value", "distribution_json"),
    "trial_values": ("trial_value_id", "trial_id", "objective", "value", "value_type"),
    "trial_intermediate_values": (
        "trial_intermediate_value_id", "trial_id", "step", "intermediate_value", "intermediate_value_type",
    ),
    "trial_user_attributes": ("trial_user_attribute_id", "trial_id", "key", "value_json"),
}  # fmt: skip


class TrialTables:
    """The tables of an Optuna database, open for adding ended trials of one study; ``known_tables`` must hold.

    Added trials are on the disk after ``commit``.
    """

    def __init__(self, database: sqlite3.Connection, study: str) -> None:
        self._database = database
        (self._study_id,) = database.execute("SELECT study_id FROM studies WHERE study_name = ?", (study,)).fetchone()

    def user_attributes(self, key: str) -> set[object]:
        """The values of a user attribute, over all trials of the study."""
        query = (
            "SELECT value_json FROM trial_user_attributes JOIN trials USING (trial_id) WHERE key = ? AND study_id = ?"
        )
        rows = self._database.execute(query, (key, self._study_id))
        return {json.loads(value) for (value,) in rows}

    def add(self, trial: FrozenTrial) -> None:
        """Add an ended trial; its number is the next one, as with ``Study.add_trial``."""
        times = (_time(trial.datetime_start), _time(trial.datetime_complete))
        # Another program may have added a trial meanwhile. The first insertion of a transaction locks the file.
        query = "SELECT COUNT(*) FROM trials WHERE study_id = ?"
        (count,) = self._database.execute(query, (self._study_id,)).fetchone()
        trial_id = self._insert("trials", [(count, self._study_id, trial.state.name, *times)])
        params = [
            (trial_id, name, one.to_internal_repr(trial.params[name]), distribution_to_json(one))
            for name, one in trial.distributions.items()
        ]
        self._insert("trial_params", params)
        if trial.value is not None:
            self._insert("trial_values", [(trial_id, 0, *_stored(trial.value))])
        steps = [(trial_id, step, *_stored(value)) for step, value in trial.intermediate_values.items()]
        self._insert("trial_intermediate_values", steps)
        attributes = [(trial_id, key, json.dumps(value)) for key, value in trial.user_attrs.items()]
        self._insert("trial_user_attributes", attributes)

    def commit(self) -> None:
        """Wait until all added trials are on the disk."""
        self._database.commit()

    def close(self) -> None:
        """Close the database without what was added since the last ``commit``."""
        self._database.close()

    def _insert(self, table: str, rows: Sequence[tuple[object, ...]]) -> int | None:
        """Insert rows without their key, which the database counts; returns the key of a single row."""
        columns = TABLES[table][1:]
        command = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"
        if len(rows) == 1:
            return self._database.execute(command, rows[0]).lastrowid
        self._database.executemany(command, rows)
        return None


def known_tables(database: sqlite3.Connection) -> bool:
    """Whether the tables of an Optuna database have the columns that ``TrialTables`` writes, and no others."""
    return all(
        {row[1] for row in database.execute(f"PRAGMA table_info({table})")} == set(columns)
        for table, columns in TABLES.items()
    )


def _time(time: datetime | None) -> str | None:
    return None if time is None else time.isoformat(sep=" ", timespec="microseconds")


def _stored(value: float) -> tuple[float | None, str]:
    """A value and its type as Optuna stores them: SQLite has no infinity and no NaN."""
    if math.isnan(value):
        return None, "NAN"
    if math.isinf(value):
        return None, "INF_POS" if value > 0 else "INF_NEG"
    return value, "FINITE"
