"""Raises the most epochs per trial of a study (--resume STUDY --max-epochs N): which trials train on, and which do not.

A trial that has ended at the former maximum goes on as if that had been an epoch like any other. If ASHA compares
trials there with the new maximum, only the best of them go on, as at every rung; the others count as stopped. So each
trial has the epochs that it could have in a search with the new maximum from the start. That needs trainings whose
first epochs do not depend on the maximum: other studies refuse.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from analysis.wording import counted
from inat.config.search import SearchConfig
from inat.constants import (
    CHECKPOINTS_DIR,
    COMPLETED,
    END_CKPT,
    EPOCH,
    LAST_CKPT,
    MAX_EPOCHS_REACHED,
    RAISED,
    RUNNING,
    STOPPED,
    STUDY_DB,
)
from inat.study.journal import Journal
from inat.study.study import Study
from inat.study.trial import Trial
from inat.tuning.rungs import Rungs
from inat.tuning.runner import PrintLine, restored_scheduler


@dataclass(frozen=True, slots=True)
class Raised:
    """Trials that stand at ``epoch``, the former maximum, and what becomes of them with the new one.

    ``marked`` are those of ``go_on`` that ASHA would stop there and does not, as they are control trials. ``patient``
    have also run out of patience at that epoch, so they have ended. ``at_rung``: ASHA compares trials there.
    """

    epoch: int
    max_epochs: int
    go_on: tuple[Trial, ...] = ()
    stopped: tuple[Trial, ...] = ()
    marked: tuple[Trial, ...] = ()
    patient: tuple[Trial, ...] = ()
    at_rung: bool = False

    @property
    def changes(self) -> bool:
        """Whether a trial has another state afterwards."""
        return bool(self.go_on or self.stopped)


def begin_raise(study: Study, config: SearchConfig, print_line: PrintLine) -> None:
    """Write the options of a resumed search to study.json, and let trials go on if it has more epochs than before.

    ``print_line`` gets a line about them.
    """
    before = study.info["config"]["max_epochs"]
    entry = _entry(study.info, config)
    if entry:  # ends the trials whose end a killed driver could not write, while their end is the former maximum
        restored_scheduler(replace(config, max_epochs=before), study)
    study.update_config(replace(config, resume=None, retry_failed=False).to_json(), **entry)
    for plan in raise_epochs(study, config):
        if plan.changes or (entry and plan.epoch == before):
            print_line(describe_raise(study.directory / CHECKPOINTS_DIR, plan, config.reduction_factor))


def _entry(info: Mapping[str, Any], config: SearchConfig) -> dict[str, Any]:
    """What study.json gets if ``config`` raises the maximum of the epochs: both maxima; {} if it does not."""
    before = info["config"]["max_epochs"]
    if config.max_epochs <= before:
        return {}
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return {RAISED: [*info.get(RAISED, ()), {"from": before, "to": config.max_epochs, "time": now}]}


def raise_epochs(study: Study, config: SearchConfig) -> list[Raised]:
    """Let the trials that stand below the maximum of ``config`` go on, or count as stopped; returns what was done.

    One plan for each former maximum; [] if it was never raised. What a killed process has left undone is done by the
    next call. study.db, in which no trial can be replaced, is removed; the search writes it again.
    """
    done = []
    for former in _formers(study.info, config):
        plan = plan_raise(study, config, former)
        done.append(plan)
        if plan.changes:
            (study.directory / STUDY_DB).unlink(missing_ok=True)
        for trial in plan.stopped:
            study.raise_trial(trial.trial_id, config.max_epochs, STOPPED)
            (study.checkpoint_dir(trial.trial_id) / END_CKPT).unlink(missing_ok=True)
        for trial in plan.go_on:
            study.raise_trial(trial.trial_id, config.max_epochs, RUNNING, would_stop=trial in plan.marked)
    return done


def _formers(info: Mapping[str, Any], config: SearchConfig) -> list[int]:
    entries = [entry.get("from") for entry in info.get(RAISED, ()) if isinstance(entry, dict)]
    return sorted({most for most in entries if isinstance(most, int) and most < config.max_epochs})


def plan_raise(journal: Journal, config: SearchConfig, former: int) -> Raised:
    """What becomes of the trials that stand at the epoch ``former`` with the maximum of ``config``."""
    rungs = Rungs(config.grace_period, config.reduction_factor, config.max_epochs)
    at_rung = former in rungs.milestones
    standing = [trial for trial in journal.trials.values() if _stands(trial, former)]
    patient = [trial for trial in standing if _is_out_of_patience(trial, config.patience)]
    able = [trial for trial in standing if trial not in patient]
    # A control trial that ASHA would have stopped before counts in no rung.
    compared = [t for t in journal.trials.values() if t.stop_epoch is None and _value_at(t, former) is not None]
    least = _least(compared, former, config.reduction_factor) if at_rung else -math.inf
    worse = [t for t in able if t.stop_epoch is None and _signed(t, former) < least]
    return Raised(
        former,
        config.max_epochs,
        go_on=tuple(trial for trial in able if trial not in worse or trial.control),
        stopped=tuple(trial for trial in worse if not trial.control),
        marked=tuple(trial for trial in worse if trial.control),
        patient=tuple(patient),
        at_rung=at_rung,
    )


def _stands(trial: Trial, epoch: int) -> bool:
    return (trial.state, trial.finished, trial.epochs) == (COMPLETED, MAX_EPOCHS_REACHED, epoch)


def _is_out_of_patience(trial: Trial, patience: int) -> bool:
    column = trial.objective.best_column
    best = next(row[EPOCH] for row in trial.history if row[column] == trial.best_value)
    return trial.epochs - int(best) >= patience


def _value_at(trial: Trial, epoch: int) -> float | None:
    column = trial.objective.best_column
    return next((float(row[column]) for row in trial.history if row[EPOCH] == epoch), None)


def _signed(trial: Trial, epoch: int) -> float:
    value = _value_at(trial, epoch)
    return math.nan if value is None else trial.objective.sign * value


def _least(trials: Sequence[Trial], epoch: int, factor: int) -> float:
    """What a trial needs at a rung to go on: ASHA's quantile, here of all trials there instead of the earlier ones."""
    values = [_signed(trial, epoch) for trial in trials]
    return float(np.nanpercentile(values, (1 - 1 / factor) * 100)) if values else -math.inf


def describe_raise(checkpoints: Path, plan: Raised, factor: int) -> str:
    """Say what becomes of the trials that have ended at a former maximum; ``checkpoints`` has a folder per trial."""
    raised = f"epochs  up to {plan.max_epochs} instead of {plan.epoch}"
    standing = len(plan.go_on) + len(plan.stopped) + len(plan.patient)
    if not standing:
        return f"{raised}; no trial has ended at epoch {plan.epoch}"
    lines = [f"{raised}: of {counted(standing, 'trial')} that ended at epoch {plan.epoch}, {_go_on(len(plan.go_on))}"]
    folders = [checkpoints / trial.trial_id for trial in plan.go_on]
    kept = sum(any((folder / name).exists() for name in (END_CKPT, LAST_CKPT)) for folder in folders)
    if again := len(folders) - kept:
        which = f"{kept} from there and {again} again" if kept else "again"
        lines.append(f"{which} from the first epoch, with the same seed, as the study has not kept their last state")
    if plan.stopped:
        lines.append(
            f"{len(plan.stopped)} count as stopped there: epoch {plan.epoch} is now a rung, where ASHA keeps the best "
            f"1/{factor}"
        )
    if plan.patient:
        lines.append(f"{len(plan.patient)} have ended, as they were out of --patience too")
    return "\n        ".join(lines)


def _go_on(count: int) -> str:
    return "none goes on" if count == 0 else f"{count} {'goes' if count == 1 else 'go'} on"
