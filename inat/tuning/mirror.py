"""study.db: the ended trials of a study in Optuna's own format, for optuna-dashboard, written beside the search."""

import contextlib
import queue
import threading
from types import TracebackType
from typing import Self

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial
from sqlalchemy.exc import SQLAlchemyError

from inat.constants import STUDY_DB, TRIAL_ID
from inat.results import Study, Trial
from inat.tuning.searcher import as_optuna


class StudyMirror:
    """A context manager; call it with each ended trial. A thread writes, so the search never waits for SQLite.

    Trials that a killed process had not written yet are added when the study is opened again.
    """

    def __init__(self, study: Study, distributions: dict[str, BaseDistribution]) -> None:
        self._study = study
        self._distributions = distributions
        self._queue: queue.SimpleQueue[FrozenTrial | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write_all, name="study-mirror")
        self.error: Exception | None = None

    def __enter__(self) -> Self:
        for trial in self._study.ended():
            self(trial)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._queue.put(None)
        self._thread.join()

    def __call__(self, trial: Trial) -> None:
        self._queue.put(as_optuna(trial, self._distributions))

    def _write_all(self) -> None:
        try:
            # Its own handle: the library's default engine waits when somebody reads the file.
            storage = optuna.storages.RDBStorage(f"sqlite:///{self._study.directory / STUDY_DB}")
            mirrored = optuna.create_study(
                storage=storage, study_name=self._study.directory.name, direction="maximize", load_if_exists=True
            )
            known = {trial.user_attrs.get(TRIAL_ID) for trial in mirrored.get_trials(deepcopy=False)}
            for trial in iter(self._queue.get, None):
                if trial.user_attrs[TRIAL_ID] not in known:
                    mirrored.add_trial(trial)
            with contextlib.suppress(AttributeError):
                storage.engine.dispose()
        except (SQLAlchemyError, OSError, optuna.exceptions.OptunaError) as error:
            # The mirror is a convenience: the study itself is complete without it.
            self.error = error
