"""Train given configurations with given seeds on Ray. The runs form a study of their own, without a search."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from inat.config.search import SearchConfig
from inat.constants import JOURNAL, STUDY_JSON, TRIAL_ID
from inat.errors import StudyError
from inat.finalize.candidates import epochs_of_run, find_run
from inat.study.study import Study
from inat.study.trial import Trial
from inat.tuning.runner import PrintLine, RunSpec, restored_scheduler, run_trials
from inat.tuning.space.grid import params_key
from inat.tuning.stoppers import StopAtLimits
from inat.tuning.worker.trainable import KNOWN_EPOCHS, LENGTH, THRESHOLD, run_trial

Params = Mapping[str, Any]


class RunSource:
    """A TrialSource that hands out the runs still to be done: unfinished runs first, from their last checkpoint.

    A run that failed in an earlier call is tried again as a new trial. A run whose ``epoch_cost`` is not 1 has as many
    epochs as cost ``max_epochs`` of the recipe.
    """

    def __init__(
        self,
        study: Study,
        wanted: Sequence[Params],
        max_epochs: int = 1,
        epoch_cost: Callable[[Params], float] = lambda params: 1.0,
    ) -> None:
        self._study, self._max_epochs, self._epoch_cost = study, max_epochs, epoch_cost
        self._wanted = {params_key(params) for params in wanted}
        self._new = [dict(params) for params in wanted if find_run(study, params) is None]
        self._unfinished: list[Trial] = []
        self.requeue_unfinished()

    @property
    def remaining(self) -> int:
        """Number of runs still to be handed out."""
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
        if not self.remaining:
            return None
        trial = self._unfinished.pop(0) if self._unfinished else self._add(self._new.pop(0))
        assert trial.trial_id == trial_id
        known = {TRIAL_ID: trial_id, THRESHOLD: None, KNOWN_EPOCHS: trial.known_epochs}
        return trial.params | known | {LENGTH: epochs_of_run(self._max_epochs, trial.epoch_cost)}

    def _add(self, params: dict[str, Any]) -> Trial:
        return self._study.add_trial(params, epoch_cost=self._epoch_cost(params))


def open_runs(directory: Path, info: Mapping[str, Any]) -> Study:
    """Open the study of runs in ``directory``; create it with ``info`` as its study.json if it does not exist.

    Raises StudyError if the study is damaged, belongs to other images, or is open in another process.
    """
    if not (directory / STUDY_JSON).exists():
        if directory.exists() and not (directory / JOURNAL).exists():
            shutil.rmtree(directory)  # a process was killed while it created the study
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
    epoch_cost: Callable[[Params], float] = lambda params: 1.0,
    print_line: PrintLine = lambda line: None,
    on_forced_exit: Callable[[str], object] = lambda cause: None,
) -> bool:
    """Train the runs in ``wanted`` that ``runs`` does not have yet; False if the user interrupted it.

    ``config`` comes from ``retraining_config``, so ASHA stops no run. Every best.ckpt is kept: the winner is known only
    at the end, and a later call with more seeds may choose another run.
    """
    config = replace(config, keep_checkpoints=max(1, len(runs.trials) + len(wanted)))
    scheduler = restored_scheduler(config, runs)
    source = RunSource(runs, wanted, config.max_epochs, epoch_cost)
    if not source.remaining:
        return True
    names = {name for params in wanted for name in params}  # ``plan`` has checked them
    spec = RunSpec(config, runs, source, scheduler, len(runs.ended()) + source.remaining, run_trial, names)
    return not run_trials(
        spec, StopAtLimits(runs, None, None), print_line=print_line, on_forced_exit=on_forced_exit
    ).interrupted
