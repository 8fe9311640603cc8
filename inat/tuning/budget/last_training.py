"""The last training of a planned search: its best configuration again, with the machine to itself.

It is a study of its own, in the folder ``last/``, so that no table or figure compares a longer training with the trials
of the search. It learns from the validation images, too, unless --refit says otherwise: then nothing is left to compare
it by, and ``inat.tuning.best`` takes it unless it went wrong. Without them, the better validation result is chosen.
"""

import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Final, Self

from analysis.rungs import epochs_at
from analysis.wording import counted
from inat.config.search import REFIT_ALL, SearchConfig
from inat.constants import (
    CLASS_COUNTS,
    ERRORS_DIR,
    FAILED,
    JOURNAL,
    LAST_DIR,
    LAST_OF,
    PLANNED_EPOCHS,
    PRECISION_JSONL,
    RECIPE_PARAMS,
    REFIT,
    STOPPED,
    STUDY_JSON,
    TRIAL_ID,
)
from inat.data.splits import inspect_data, load_splits
from inat.errors import StudyError
from inat.machine import usable_cores
from inat.study.atomic_io import as_disk_full_error
from inat.study.cheaper import CostRule
from inat.study.metadata import read_info
from inat.study.study import Study
from inat.study.trial import Trial
from inat.tuning.budget import rules
from inat.tuning.budget.begin import alone
from inat.tuning.budget.clock import TIME_OVER, Clock, StopAtDeadline, epoch_seconds, has_result
from inat.tuning.budget.plan import TimePlan
from inat.tuning.provenance import study_info
from inat.tuning.refit import chosen_trial
from inat.tuning.rules import RULES
from inat.tuning.runner import Objective, PrintLine, RunSpec, restored_scheduler, run_trials
from inat.tuning.space import backbone_checks, presets
from inat.tuning.space.names import hyperparameters
from inat.tuning.worker.trainable import FINGERPRINT, KNOWN_EPOCHS, LENGTH, SEED, THRESHOLD, run_trial

DATA = "data"  # in study.json: which photos
REFIT_NOTE: Final = ", on the training and validation photos together, so that only the test photos measure it"


@dataclass(frozen=True, slots=True)
class Choice:
    """The trial whose configuration is trained again for about ``epochs``; ``refit``: on the validation images, too."""

    trial: Trial
    epochs: int
    refit: bool = False


class OneTraining:
    """A TrialSource with a single configuration, tried again as a new trial if it has failed."""

    def __init__(
        self, study: Study, params: Mapping[str, Any], seed: int, settings: Mapping[str, Any] = MappingProxyType({})
    ) -> None:
        self._study, self._params, self._seed, self._settings = study, dict(params), seed, settings

    def next_trial_id(self) -> str:
        """See TrialSource."""
        unfinished = self._study.unfinished()
        return unfinished[0].trial_id if unfinished else self._study.next_trial_id

    def suggest(self, trial_id: str) -> dict[str, Any]:
        """See TrialSource."""
        unfinished = self._study.unfinished()
        trial = unfinished[0] if unfinished else self._study.add_trial(self._params)
        return trial.params | {
            TRIAL_ID: trial_id, SEED: self._seed, THRESHOLD: None, KNOWN_EPOCHS: trial.known_epochs,
            LENGTH: {}, **self._settings,
        }  # fmt: skip

    def requeue_unfinished(self) -> Self:
        """See TrialSource."""
        return self

    def requeue(self, trial_id: str) -> None:
        """See TrialSource."""


def choose(study: Study, clock: Clock, now: float, refit: float = 1.0) -> Choice | None:
    """The best trial of the search that can be trained for at least as many epochs as a trial of the search has.

    With --prefer-cheaper, it is the trial that takes its place: the weights of no other one would be used.

    The epochs are those that fit by the trial's own seconds, as much faster with all cores as the recipe was measured
    to be. None if there is no such trial. The first of these trials is trained on the validation images, too, if
    ``refit``, how many times the images of a trial these are together, is above 1, and there is time for it; the others
    would not be comparable.
    """
    plan = clock.plan
    left = clock.last_ends - now - plan.restart_seconds
    ranking = study.ranking()
    first = chosen_trial(study, CostRule.of(study.info))
    if first is None:
        return None
    others = [trial for trial in ranking if trial is not first] if first is ranking[0] else []
    ways = [(first, True)] if refit > 1 else []
    for trial, whole in [*ways, (first, False), *((other, False) for other in others)]:
        seconds = alone_seconds(trial, plan, refit if whole else 1.0)
        epochs = 0 if seconds is None else min(most_epochs(trial, plan), int(left / seconds))
        if epochs >= epochs_at(plan.max_epochs, trial.epoch_cost):
            return Choice(trial, epochs, whole)
    return None


def refit_of(config: SearchConfig) -> float:
    """How many times the images of a trial the last training has; 1 if it has the same ones."""
    if config.refit != REFIT_ALL:
        return 1.0
    trained, both = _images(config)
    return both / max(1, trained)


def _images(config: SearchConfig) -> tuple[int, int]:
    """The training images of a trial, and those with the validation images; test images are in neither."""
    splits = load_splits(config.data_config())
    return len(splits.train.rows), len(splits.train.rows) + len(splits.val.rows)


def most_epochs(trial: Trial, plan: TimePlan) -> int:
    """The most epochs of a last training of ``trial``: a cheap network has as many as cost those of the recipe."""
    return max(plan.most_epochs, epochs_at(plan.most_epochs, trial.epoch_cost))


def alone_seconds(trial: Trial, plan: TimePlan, refit: float = 1.0) -> float | None:
    """The seconds that an epoch of ``trial`` is expected to take with all cores; None before its first epoch.

    ``refit``: of an epoch of so many times its images.
    """
    seconds = epoch_seconds(trial)
    return None if seconds is None else rules.SAFETY * refit * seconds * plan.alone_seconds / plan.epoch_seconds


def train_last(
    config: SearchConfig,
    study: Study,
    clock: Clock,
    objective: Objective = run_trial,
    *,
    print_line: PrintLine = lambda line: None,
    on_forced_exit: Callable[[str], object] = lambda cause: None,
) -> bool:
    """Train the best configuration of ``study`` again until ``clock`` says that the time is over; False after Ctrl-C.

    A training that an earlier call began goes on, one that failed begins again, and one that has ended is not repeated.
    """
    last = _opened(study) or _created(config, study, clock, print_line)
    if last is None:
        return True
    try:
        return _run(config, study, last, clock, objective, print_line, on_forced_exit)
    finally:
        last.close()


def _opened(study: Study) -> Study | None:
    """The last training that an earlier call began; None without one."""
    directory = study.directory / LAST_DIR
    if not (directory / STUDY_JSON).exists():
        if (directory / JOURNAL).exists():
            raise StudyError(
                f"{directory / STUDY_JSON} is missing; restore it from a copy, or remove {directory}, and --resume of "
                "its study trains it again"
            )
        return None
    if not (directory / JOURNAL).exists():
        shutil.rmtree(directory)  # the process was killed while it created the study
        return None
    try:
        read_info(directory)
    except StudyError as error:
        raise StudyError(f"{error}; or remove {directory}, and --resume of its study trains it again") from error
    return Study.open(directory)


def _created(config: SearchConfig, study: Study, clock: Clock, print_line: PrintLine) -> Study | None:
    chosen = choose(study, clock, time.monotonic(), refit_of(config))
    if chosen is None:
        print_line("last    not trained: the time that is left is too short for it")
        return None
    print_line(
        f"last    {chosen.trial.trial_id} again for about {counted(chosen.epochs, 'epoch')}, until its time is over, "
        f"from new weights and with the machine to itself{REFIT_NOTE if chosen.refit else ''}"
    )
    options = _options(config, most_epochs(chosen.trial, clock.plan), clock.plan.cores)
    directory = study.directory / LAST_DIR
    shutil.rmtree(directory, ignore_errors=True)
    last = Study.create(directory, _info(options, study, chosen))
    if (study.directory / PRECISION_JSONL).exists():  # in the arithmetic that was chosen in the search
        with as_disk_full_error(directory):
            shutil.copyfile(study.directory / PRECISION_JSONL, directory / PRECISION_JSONL)
    return last


def _options(config: SearchConfig, epochs: int, cores: int) -> SearchConfig:
    """The options of the last training: one trial, which nothing stops, with the machine to itself."""
    return alone(
        replace(
            config, max_epochs=epochs, grace_period=epochs, patience=max(epochs, config.patience), num_samples=1,
            keep_checkpoints=1, resume=None, retry_failed=False, start_from=None, learn_from=(), time_budget=None,
            target=None, wandb="off", tensorboard=False, name=None, gpus_per_trial=config.gpus_per_trial,
        ),
        min(cores, usable_cores()),
    )  # fmt: skip


def _info(options: SearchConfig, study: Study, chosen: Choice) -> dict[str, Any]:
    names = (DATA, CLASS_COUNTS, RULES, backbone_checks.WEIGHTS)
    kept = {name: study.info[name] for name in names if name in study.info}
    made = {LAST_OF: chosen.trial.trial_id, PLANNED_EPOCHS: chosen.epochs} | ({REFIT: True} if chosen.refit else {})
    return study_info(options, {}, inspect_data(options.data_config())) | kept | made


def _params(options: SearchConfig, study: Study, trial: Trial, epochs: int, refit: bool) -> dict[str, Any]:
    """The hyperparameters of ``trial``; those of the recipe for so many ``epochs`` if it had the recipe's."""
    if trial.params != study.info.get(RECIPE_PARAMS):
        return trial.params
    shorter = replace(options, max_epochs=epochs, grace_period=epochs)
    data = inspect_data(options.data_config())
    return presets.recipe_of(shorter, replace(data, training=_images(options)[1]) if refit else data)


def _run(
    config: SearchConfig,
    study: Study,
    last: Study,
    clock: Clock,
    objective: Objective,
    print_line: PrintLine,
    on_forced_exit: Callable[[str], object],
) -> bool:
    if has_result(last):
        return True
    trial, planned, most = _began_as(study, last)
    if last.ended() and clock.last_ends <= time.monotonic():
        print_line("last    not trained: its time is over")
        return True
    options, refit = _options(config, most, clock.plan.cores), last.info.get(REFIT) is True
    params = _params(options, study, trial, planned, refit)
    settings = {"train_on_val": True} if refit else {}
    source = OneTraining(last, params, options.seed, settings)
    limits = StopAtDeadline(last, clock.last_ends)
    scheduler = restored_scheduler(options, last)
    names = {*hyperparameters(study.info["space"], options), *settings}
    spec = RunSpec(
        options, last, source, scheduler, last.num_ended + 1, objective, names, ends=clock.training_ends,
        expected_seconds=alone_seconds(trial, clock.plan, refit_of(config) if refit else 1.0)
        or rules.SAFETY * clock.plan.alone_seconds,
    )  # fmt: skip
    result = run_trials(spec, limits, print_line=print_line, on_forced_exit=on_forced_exit)
    if result.interrupted:
        return False
    if limits.reason:
        _end_at_deadline(last, print_line)
    elif not has_result(last):
        error = last.ended()[-1].error if last.ended() else ""
        print_line(
            f"last    failed{error and ': '}{error}; see {last.directory / ERRORS_DIR}, --resume trains it again"
        )
    return True


def _began_as(study: Study, last: Study) -> tuple[Trial, int, int]:
    """The trial of ``study`` that ``last`` repeats, the epochs that were planned for it, and the most that it may have.

    Nothing else is taken from its study.json, which somebody may have changed. Its trials have no hyperparameter that
    the search of ``study`` could not choose.
    """
    most, data, repeated = last.info["config"].get("max_epochs"), last.info.get(DATA), last.info.get(LAST_OF)
    planned = last.info.get(PLANNED_EPOCHS, most)  # studies of earlier versions trained exactly so many
    same = isinstance(data, dict) and data.get(FINGERPRINT) == study.info[DATA][FINGERPRINT]
    chosen = study.info["space"].keys() | {SEED}
    fits = all(trial.params.keys() <= chosen for trial in last.unfinished())
    trial = study.trials.get(repeated) if isinstance(repeated, str) else None
    counts = all(type(number) is int and number > 0 for number in (planned, most))
    if trial is None or not counts or not same or not fits:
        raise StudyError(f"{last.directory} is damaged; remove it, and --resume of its study trains it again")
    return trial, planned, most


def _end_at_deadline(last: Study, print_line: PrintLine) -> None:
    for trial in last.unfinished():
        last.end_trial(trial.trial_id, STOPPED if trial.history else FAILED, TIME_OVER)
        which = "last" if last.info.get(REFIT) is True else "best"
        done = f"{counted(trial.epochs, 'epoch')}: {TIME_OVER}; its {which} epoch counts"
        print_line(f"last    stopped {f'after {done}' if trial.history else f'before its first epoch: {TIME_OVER}'}")
