"""The checkpoints of a study's trials, compared with the journal, and files that killed processes left."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from inat.config.trial import active_params
from inat.constants import BEST_CKPT, CHECKPOINTS_DIR, END_CKPT, EPOCH, LAST_CKPT, LOCK_FILE, RUNNING
from inat.study.checkpoint_file import is_intact
from inat.study.events import TRIAL_ID_PATTERN
from inat.study.journal import Journal
from inat.study.trial import Trial
from inat.study_check.problems import Problem, Removed
from inat.training.checkpoint import CONFIG_KEY
from inat.training.epoch_recorder import IDENTITY
from inat.training.resume import checkpoint_row, checkpoint_value, recorder_state
from inat.tuning.worker.callbacks import ATTEMPT

NOT_LEFT_OVER = (LOCK_FILE, ATTEMPT)


def check_leftovers(directory: Path, removed: Removed) -> Iterator[Problem]:
    """Files that a killed process was writing; a file that is complete has another name."""
    for path in sorted((*directory.glob(".*"), *directory.glob(f"{CHECKPOINTS_DIR}/*/.*"))):
        if path.is_file() and path.name not in NOT_LEFT_OVER:
            yield Problem(f"{path.relative_to(directory)} was never finished", lambda p=path: removed.move(p))  # type: ignore[misc]


def check_checkpoints(directory: Path, journal: Journal, removed: Removed) -> Iterator[Problem]:
    """Checkpoints that cannot be read, or that do not belong to the trial of their folder."""
    for folder in sorted(path for path in (directory / CHECKPOINTS_DIR).glob("*") if path.is_dir()):
        trial = journal.trials.get(folder.name)
        if not TRIAL_ID_PATTERN.fullmatch(folder.name):
            continue  # the user's
        if trial is None:
            text = f"{folder.relative_to(directory)} belongs to no trial in the journal"
            yield Problem(text, lambda f=folder: removed.move(f))  # type: ignore[misc]
            continue
        checks = {LAST_CKPT: _fault_of_last, END_CKPT: _fault_of_state, BEST_CKPT: _fault_of_best}
        for path, fault in ((folder / name, fault) for name, fault in checks.items()):
            if path.exists() and (found := fault(path, trial)):
                text = f"{path.relative_to(directory)} {found}"
                yield Problem(text, lambda p=path: removed.move(p))  # type: ignore[misc]


def rows_to_restore(directory: Path, journal: Journal) -> dict[str, int]:
    """How many epochs the ``last.ckpt`` of each unfinished trial is ahead of the journal; --resume adds them."""
    ahead = {}
    for trial in journal.unfinished():
        state = recorder_state(directory / CHECKPOINTS_DIR / trial.trial_id / LAST_CKPT) or {}
        history = state.get("history", ())
        last = int(history[-1][EPOCH]) if history else 0
        if last == len(history) > trial.known_epochs:
            ahead[trial.trial_id] = last - trial.known_epochs
    return ahead


def _fault_of_last(path: Path, trial: Trial) -> str:
    if trial.state != RUNNING:
        return f"belongs to a trial that has ended ({trial.state})"
    return _fault_of_state(path, trial)


def _fault_of_state(path: Path, trial: Trial) -> str:
    state = recorder_state(path) if is_intact(path) else None
    if state is None:
        return "cannot be read"
    return _foreign(state.get(IDENTITY, {}), trial)


def _fault_of_best(path: Path, trial: Trial) -> str:
    row = checkpoint_row(path)
    if not row or not is_intact(path):
        return "cannot be read"
    if foreign := _foreign(checkpoint_value(path, CONFIG_KEY) or {}, trial):
        return foreign
    kept, objective = row.get(trial.objective.best_column), trial.objective
    if trial.state != RUNNING and kept != trial.kept_value:
        return f"has a {objective.label} of {kept}, its trial of {trial.kept_value}"
    return ""


def _foreign(params: Mapping[str, Any], trial: Trial) -> str:
    own = active_params(trial.params)
    differing = sorted(name for name in own if name in params and params[name] != own[name])
    return f"was written by another configuration ({', '.join(differing)})" if differing else ""
