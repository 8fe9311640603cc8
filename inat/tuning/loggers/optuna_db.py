"""study.db: the ended trials of a study as an Optuna database, for optuna-dashboard."""

import sqlite3
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self

import optuna
from optuna.trial import FrozenTrial

from inat.config.objective import Objective
from inat.constants import RUNNING, STUDY_DB, TRIAL_ID
from inat.study.study import Study
from inat.study.trial import Trial
from inat.tuning.loggers.background import BackgroundLogger
from inat.tuning.sampling.optuna_tables import TrialTables, known_tables
from inat.tuning.sampling.searcher import DIRECTIONS, BudgetAwareOptunaSearch

STUDY_NAME = "trials"  # fixed, so that a study directory can be renamed
BUSY_SECONDS = 30.0  # to wait for a program that reads the database, such as optuna-dashboard

VERSION = "SELECT schema_version FROM version_info"


def check_schema(database: sqlite3.Connection, objective: Objective) -> None:
    """Raise ValueError for a database that no search for ``objective`` has written with this version of Optuna.

    Raises sqlite3.Error if it is damaged.
    """
    _check_triggers(database)
    contents: dict[str, set[tuple[object, ...]]] = {
        "SELECT study_name FROM studies": {(STUDY_NAME,)},
        "SELECT direction FROM study_directions": {(DIRECTIONS[objective.mode].upper(),)},
        VERSION: _own_version(),
        "SELECT DISTINCT state FROM trials": {("COMPLETE",), ("PRUNED",), ("FAIL",)},
    }
    for query, expected in contents.items():
        found = set(database.execute(query))
        if not found <= expected or (not found and "trials" not in query):
            raise ValueError(f"{query}: {sorted(found, key=str)!r:.80}, but a search has written another value")


def _own_version() -> set[tuple[object, ...]]:
    """The version of the tables that this Optuna makes, read from a new database: Optuna keeps it to itself."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / STUDY_DB
        optuna.storages.RDBStorage(f"sqlite:///{file}").remove_session()
        with closing(sqlite3.connect(file)) as database:
            return set(database.execute(VERSION))


def _check_triggers(database: sqlite3.Connection) -> None:
    """Raise ValueError for a database of a stranger whose triggers would run with each new row, perhaps for ever."""
    strange = database.execute("SELECT type, name FROM sqlite_master WHERE type IN ('trigger', 'view')").fetchall()
    if strange:
        raise ValueError(
            f"it has the {strange[0][0]} {strange[0][1]!r}, which no database of Optuna has; remove the file"
        )


def _check_database(file: Path) -> None:
    if file.exists():
        with closing(sqlite3.connect(file)) as database:
            _check_triggers(database)


class OptunaDbWriter(BackgroundLogger):
    """Adds each ended trial to study.db; at the start, also the trials that a killed process left out."""

    label = STUDY_DB

    def __init__(self, study: Study, searcher: BudgetAwareOptunaSearch) -> None:
        super().__init__()
        self._study = study
        self._searcher = searcher
        self._storage: optuna.storages.RDBStorage | None = None
        self._tables: TrialTables | None = None
        self._known: set[object] = set()

    def __enter__(self) -> Self:
        for trial in self._study.ended():
            self(trial)
        return super().__enter__()

    def __call__(self, trial: Trial) -> None:
        if trial.state != RUNNING:
            self.put(self._searcher.to_frozen_trial(trial))

    def open(self) -> None:
        file = self._study.directory / STUDY_DB
        _check_database(file)
        self._storage = optuna.storages.RDBStorage(f"sqlite:///{file}")
        self._database = optuna.create_study(
            storage=self._storage,
            study_name=STUDY_NAME,
            direction=DIRECTIONS[self._study.objective.mode],
            load_if_exists=True,
        )
        self._tables = open_tables(file)
        if self._tables is not None:
            self._known = self._tables.user_attributes(TRIAL_ID)
        else:  # of another version of Optuna
            self._known = {trial.user_attrs[TRIAL_ID] for trial in self._database.get_trials(deepcopy=False)}

    def write(self, item: FrozenTrial) -> None:
        if item.user_attrs[TRIAL_ID] in self._known:
            return
        if self._tables is not None:
            self._tables.add(item)
        else:
            self._database.add_trial(item)

    def flush(self) -> None:
        if self._tables is not None:
            self._tables.commit()

    def close(self) -> None:
        if self._tables is not None:
            self._tables.close()
        if self._storage is not None:
            self._storage.engine.dispose()


def open_tables(file: Path) -> TrialTables | None:
    """Open the tables of a database; None if this version of Optuna has others, to which only Optuna can write."""
    database = sqlite3.connect(file, timeout=BUSY_SECONDS)
    if known_tables(database):
        return TrialTables(database, STUDY_NAME)
    database.close()
    return None
