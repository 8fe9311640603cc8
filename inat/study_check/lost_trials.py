"""Trials whose own line in the journal is damaged: made again from trials.csv and study.db, else as failed trials."""

import csv
import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from optuna.distributions import json_to_distribution

from analysis.escaping import unescape_csv_cell
from analysis.files import MAX_TABLE_BYTES, parse_json, read_bytes
from inat.constants import CREATED, FAILED, STUDY_DB, TRIAL_COLUMNS_AFTER, TRIAL_COLUMNS_BEFORE, TRIAL_ID, TRIALS_CSV
from inat.study.events import check_event
from inat.study.journal import Journal

LOST = "its line in the journal was damaged"  # the error of a trial whose hyperparameters are nowhere
_OTHER_COLUMNS = (*TRIAL_COLUMNS_BEFORE, *TRIAL_COLUMNS_AFTER)
_ATTRIBUTES = "SELECT trial_id, value_json FROM trial_user_attributes WHERE key = ?"
_PARAMETERS = "SELECT trial_id, param_name, param_value, distribution_json FROM trial_params"


class LostTrials:
    """What the other files of a study know about trials that the journal does not have."""

    def __init__(self, directory: Path) -> None:
        self._rows = _table(directory / TRIALS_CSV)
        self._parameters = _parameters_in(directory / STUDY_DB)

    def __contains__(self, trial_id: str) -> bool:
        return trial_id in self._rows or trial_id in self._parameters

    def events(self, trial_id: str, journal: Journal) -> list[dict[str, Any]]:
        """The events that begin this trial; with unknown hyperparameters also the one that ends it as failed."""
        row = self._rows.get(trial_id, {})
        params = self._parameters.get(trial_id) or _params_of_row(row, journal)
        begin = {"event": "trial", TRIAL_ID: trial_id, "number": int(trial_id[1:]), "params": params,
                 "created": row.get(CREATED, "")}  # fmt: skip
        with suppress(ValueError):
            check_event(begin, journal.objective)
            if params:
                return [begin]
        begin |= {"params": {}}
        return [begin, {"event": "end", TRIAL_ID: trial_id, "state": FAILED, "error": LOST}]


def _table(path: Path) -> dict[str, dict[str, str]]:
    try:
        lines = read_bytes(path, MAX_TABLE_BYTES, inside=path.parent).decode().splitlines(keepends=True)
        rows = [{n: unescape_csv_cell(v) for n, v in row.items() if n and v} for row in csv.DictReader(lines)]
    except (OSError, ValueError, csv.Error, AttributeError):  # the table is damaged, too
        return {}
    return {row[TRIAL_ID]: row for row in rows if TRIAL_ID in row}


def _params_of_row(row: Mapping[str, str], journal: Journal) -> dict[str, Any]:
    """The hyperparameters of a row of trials.csv, which leaves out those without an effect: any value will do there."""
    if not row:
        return {}
    others: dict[str, list[Any]] = {}
    for trial in journal.trials.values():
        for name, value in trial.params.items():
            others.setdefault(name, []).append(value)
    found = {name: _value(text, others.get(name, ())) for name, text in row.items() if name not in _OTHER_COLUMNS}
    return {name: found[name] if name in found else values[0] for name, values in others.items()} | found


def _value(text: str, others: Iterator[Any] | tuple[Any, ...] | list[Any]) -> Any:
    """A cell of a table as the value that it was written from, of the type that the other trials have."""
    for other in others:
        if str(other) == text:
            return other
    if text in ("True", "False"):
        return text == "True"
    kinds = {type(other) for other in others if not isinstance(other, bool)} or {int, float}
    for kind in (int, float):
        with suppress(ValueError):
            if kind in kinds:
                return kind(text)
    return text


def _parameters_in(path: Path) -> dict[str, dict[str, Any]]:
    """The hyperparameters of the trials in study.db; {} if it is missing or damaged."""
    found: dict[str, dict[str, Any]] = {}
    with suppress(OSError, sqlite3.Error, ValueError, TypeError, KeyError, IndexError, OverflowError):
        if path.is_file():
            with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
                ids = {number: str(parse_json(text)) for number, text in database.execute(_ATTRIBUTES, (TRIAL_ID,))}
                for number, name, value, distribution in database.execute(_PARAMETERS):
                    external = json_to_distribution(distribution).to_external_repr(value)
                    found.setdefault(ids[number], {})[str(name)] = json.loads(json.dumps(external))
    return found
