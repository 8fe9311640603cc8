"""study.db: the ended trials of a study as an Optuna database, for optuna-dashboard."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Self

import optuna
from optuna.trial import FrozenTrial

from inat.constants import RUNNING, STUDY_DB, TRIAL_ID
from inat.study.study import Study
from inat.study.trial import Trial
from inat.tuning.loggers.background import BackgroundLogger
from inat.tuning.sampling.searcher import DIRECTIONS, BudgetAwareOptunaSearch

STUDY_NAME = "trials"  # fixed, so that a study directory can be renamed


def _check_database(file: Path) -> None:
    """Raise ValueError for a database of a stranger whose triggers would run with each new row, perhaps for ever."""
    if not file.exists():
        return
    with closing(sqlite3.connect(file)) as database:
        strange = database.execute("SELECT type, name FROM sqlite_master WHERE type IN ('trigger', 'view')").fetchall()
    if strange:
        raise ValueError(
            f"it has the {strange[0][0]} {strange[0][1]!r}, which no database of Optuna has; remove the file"
        )


class OptunaDbWriter(BackgroundLogger):
    """Adds each ended trial to study.db; at the start, also the trials that a killed process left out."""

    label = STUDY_DB

    def __init__(self, study: Study, searcher: BudgetAwareOptunaSearch) -> None:
        super().__init__()
        self._study = study
        self._searcher = searcher
        self._storage: optuna.storages.RDBStorage | None = None
        self._known: set[str] = set()

    def __enter__(self) -> Self:
        for trial in self._study.ended():
            self(trial)
        return super().__enter__()

    def __call__(self, trial: Trial) -> None:
        if trial.state != RUNNING:
            self.put(self._searcher.to_frozen_trial(trial))

    def open(self) -> None:
        _check_database(self._study.directory / STUDY_DB)
        self._storage = optuna.storages.RDBStorage(f"sqlite:///{self._study.directory / STUDY_DB}")
        self._database = optuna.create_study(
            storage=self._storage,
            study_name=STUDY_NAME,
            direction=DIRECTIONS[self._study.objective.mode],
            load_if_exists=True,
        )
        self._known = {trial.user_attrs[TRIAL_ID] for trial in self._database.get_trials(deepcopy=False)}

    def write(self, item: FrozenTrial) -> None:
        if item.user_attrs[TRIAL_ID] not in self._known:
            self._database.add_trial(item)

    def close(self) -> None:
        if self._storage is not None:
            self._storage.engine.dispose()
