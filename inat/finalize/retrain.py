"""Train given configurations, each with a given seed, on Ray: a study of its own, without a search."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from ray.tune.search import Searcher

from inat.config.search import SearchConfig
from inat.constants import JOURNAL, METRIC, MODE, STUDY_JSON, TRIAL_ID
from inat.errors import StudyError
from inat.finalize.candidates import find_run
from inat.study.study import Study
from inat.study.trial import Trial
from inat.tuning.runner import Announce, RunSpec, restored_scheduler, run_trials
from inat.tuning.space.grid import params_key
from inat.tuning.stoppers import StopAtLimits
from inat.tuning.worker.trainable import THRESHOLD, run_trial

Params = Mapping[str, Any]


class RunSource(Searcher):
    """Hands out trainings that have yet to be done: those left unfinished first, from their last checkpoint.

    One that failed when the command ran before is tried again, as another trial.
    """

    def __init__(self, study: Study, wanted: Sequence[Params]) -> None:
        super().__init__(metric=METRIC, mode=MODE)
        self._study = study
        self._wanted = {params_key(params) for params in wanted}
        self._new = [dict(params) for params in wanted if find_run(study, params) is None]
        self._unfinished: list[Trial] = []
        self.requeue_unfinished()

    @property
    def waiting(self) -> int:
        """How many there are to do."""
        return len(self._unfinished) + len(self._new)

    def requeue_unfinished(self) -> Self:
        """See TrialSource."""
        self._unfinished = [t for t in self._study.unfinished() if params_key(t.params) in self._wanted]
        return self

    def requeue(self, trial_id: str) -> None:
        """See TrialSource."""
        self._unfinished.append(self._study.trials[trial_id])

    def next_trial_id(self) -> str:
        """See TrialSource."""
        return self._unfinished[0].trial_id if self._unfinished else self._study.next_trial_id

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        if not self.waiting:
            return None
        trial = self._unfinished.pop(0) if self._unfinished else self._study.add_trial(self._new.pop(0))
        assert trial.trial_id == trial_id
        return trial.params | {TRIAL_ID: trial_id, THRESHOLD: None}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Nothing: the study knows."""


def open_runs(directory: Path, info: Mapping[str, Any]) -> Study:
    """The study of trainings in ``directory``, made with ``info`` as its study.json if it is not there.

    StudyError if it is of other photographs, damaged, or another process has it.
    """
    if not (directory / STUDY_JSON).exists():
        if directory.exists() and not (directory / JOURNAL).exists():
            shutil.rmtree(directory)  # of a process that was killed while it made it
        return Study.create(directory, info)
    study = Study.open(directory)
    if study.info.get("data") != info["data"]:
        study.close()
        raise StudyError(f"{directory} was made with other photos than its study; remove it and start again")
    return study


def retrain(
    config: SearchConfig,
    runs: Study,
    wanted: Sequence[Params],
    *,
    announce: Announce = lambda line: None,
    give_up: Callable[[], object] = lambda: None,
) -> bool:
    """Train what ``wanted`` lists and ``runs`` does not have yet; False if the user interrupted it.

    ``config`` must not let ASHA stop anything (``settings_of``). All best.ckpt are kept: which one is needed shows at
    the end, and another number of seeds may choose another.
    """
    config = replace(config, keep_checkpoints=max(1, len(runs.trials) + len(wanted)))
    scheduler = restored_scheduler(config, runs)
    source = RunSource(runs, wanted)
    if not source.waiting:
        return True
    work = RunSpec(config, runs, source, scheduler, len(runs.ended()) + source.waiting, run_trial)
    return not run_trials(work, StopAtLimits(runs, None, None), announce=announce, give_up=give_up).interrupted
