import csv
import errno
import os
import re
from pathlib import Path

import pytest

from inat.errors import DiskFullError, StudyError
from inat.study import study as study_module
from inat.study.study import Study
from inat.tuning.lifecycle import TrialLifecycle, finish_interrupted, outcome_of
from inat.tuning.ray_backend.asha import StudyASHA, asha_for
from inat.tuning.ray_backend.hang_monitor import hang_file
from tests.helpers import run_epochs

ASHA = {"max_epochs": 9, "grace_period": 1, "reduction_factor": 3}


def make_lifecycle(study, scheduler=None, calls=None) -> TrialLifecycle:
    calls = [] if calls is None else calls
    callbacks = [lambda trial: calls.append((trial.trial_id, trial.state))]
    return TrialLifecycle(study, scheduler or StudyASHA(**ASHA), keep_checkpoints=2, callbacks=callbacks)


def fail(lifecycle, trial_id, failure, requeued=False):
    lifecycle.fail(trial_id, failure, lambda: requeued)


def epoch(number: int, value: float) -> dict:
    return {"epoch": number, "best_val_acc": value}


def test_epochs_ends_and_failures_are_written_and_passed_on(study):
    scheduler, calls = StudyASHA(**ASHA), []
    lifecycle = make_lifecycle(study, scheduler, calls)
    for _ in range(3):
        lifecycle.add_epochs(study.add_trial({"x": 1}).trial_id, [epoch(1, 0.5) | {"pid": 1}], node="node7")
    scheduler.stopped_early.add("t0001")
    lifecycle.end("t0000")
    lifecycle.end("t0001")
    fail(lifecycle, "t0002", "Traceback\n  File\nValueError: too large\n\n")
    assert [t.state for t in study.trials.values()] == ["completed", "stopped", "failed"]
    assert study.trials["t0002"].error == "ValueError: too large"
    assert (study.directory / "errors" / "t0002.txt").read_text() == "Traceback\n  File\nValueError: too large\n\n"
    assert study.trials["t0000"].node == "node7"
    assert calls[:3] == [("t0000", "running"), ("t0001", "running"), ("t0002", "running")]
    assert calls[3:] == [("t0000", "completed"), ("t0001", "stopped"), ("t0002", "failed")]


def test_outcomes_with_a_remark(study):
    silent, diverged = study.add_trial({"x": 1}), study.add_trial({"x": 2})
    run_epochs(study, diverged.trial_id, [0.1, 0.1], finished="diverged")
    assert outcome_of(silent, StudyASHA(**ASHA)) == ("failed", "ended without reporting an epoch")
    by_user = StudyASHA(**ASHA)
    by_user.stopped_early = by_user.ended_by_user = {diverged.trial_id, silent.trial_id}
    ended = "diverged at epoch 2; stopped by the user after 2 epochs"
    assert outcome_of(diverged, by_user) == ("stopped", ended)
    assert outcome_of(silent, by_user) == ("failed", "ended without reporting an epoch")
    assert outcome_of(diverged, StudyASHA(**ASHA)) == ("completed", "diverged at epoch 2")
    small = study.add_trial({"x": 3})
    run_epochs(study, small.trial_id, [0.1, 0.2], micro_batch=8)
    state, remark = outcome_of(small, StudyASHA(**ASHA))
    assert (state, remark) == ("completed", "in micro-batches of 8: the device has too little memory for whole ones")


def test_a_note_of_the_training_stands_in_the_error_column_of_the_table(study):
    trial = study.add_trial({"x": 1})
    lifecycle = make_lifecycle(study)
    note = "trained through the frozen stages in every epoch: their features take 9 GB, more than --max-feature-gb 1"
    row = epoch(1, 0.5) | {"note": note, "trainable_parameters": 12_810, "micro_batch": 8}
    lifecycle.add_epochs(trial.trial_id, [row], node="")
    lifecycle.end(trial.trial_id)
    study.write_trials()
    with (study.directory / "trials.csv").open() as file:
        (written,) = csv.DictReader(file)
    assert written["error"] == f"{note}; in micro-batches of 8: the device has too little memory for whole ones"
    assert written["trainable_parameters"] == "12810"
    reopened = Study.open(_closed(study))
    assert reopened.trials[trial.trial_id].trainable_parameters == 12_810
    reopened.close()


def _closed(study) -> Path:
    study.close()
    return study.directory


def test_a_trial_ends_once_and_takes_no_epochs_after_its_end(study):
    lifecycle = make_lifecycle(study, calls=(calls := []))
    trial_id = study.add_trial({"x": 1}).trial_id
    lifecycle.add_epochs(trial_id, [epoch(1, 0.5)], node="")
    lifecycle.end(trial_id)
    lifecycle.add_epochs(trial_id, [epoch(1, 0.1)], node="")
    lifecycle.end(trial_id)
    assert calls == [("t0000", "running"), ("t0000", "completed")]
    assert len(study.ended_in_order) == len(study.reported_epochs) == 1


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (errno.ENOSPC, "the disk of .* is full; .*--resume"),
        (errno.EIO, "cannot be written .Input/output error.; .*--resume"),
    ],
)
def test_after_an_error_while_writing_nothing_more_is_written(study, monkeypatch, fault, message):
    lifecycle = make_lifecycle(study, calls=(calls := []))
    one, two = (study.add_trial({"x": i}).trial_id for i in range(2))

    def refuse(path, text, **options):
        raise OSError(fault, os.strerror(fault))

    with monkeypatch.context() as patch:
        patch.setattr(study_module, "atomic_write", refuse)
        lifecycle.add_epochs(one, [epoch(1, 0.5)], node="")
        lifecycle.end(one)
    assert isinstance(lifecycle.error, StudyError)
    assert re.search(message, str(lifecycle.error))
    before = len(calls)
    lifecycle.add_epochs(two, [epoch(1, 0.5)], node="")
    lifecycle.end(two)
    assert len(calls) == before
    assert study.trials[two].state == "running"


def test_a_requeued_trial_stays_unfinished(study):
    trial_id = study.add_trial({"x": 1}).trial_id
    lifecycle = make_lifecycle(study)
    fail(lifecycle, trial_id, "The actor died unexpectedly.", requeued=True)
    assert study.trials[trial_id].state == "running"
    fail(lifecycle, trial_id, "The actor died unexpectedly.")
    assert study.trials[trial_id].state == "failed"


@pytest.mark.parametrize(
    ("text", "error"),
    [("File x, line 3 in train", "no epoch within --trial-timeout"), ("", "The actor died unexpectedly.")],
)
def test_a_trial_that_hung_has_the_timeout_as_its_reason(study, text, error):
    trial_id = study.add_trial({"x": 1}).trial_id
    path = hang_file(study.directory, trial_id)
    path.parent.mkdir()
    path.write_text(text)
    fail(make_lifecycle(study), trial_id, "The actor died unexpectedly.")
    assert study.trials[trial_id].error == error


def test_a_full_disk_ends_the_search_and_leaves_the_trial_for_a_resume(study):
    trial_id = study.add_trial({"x": 1}).trial_id
    lifecycle = make_lifecycle(study)
    fail(lifecycle, trial_id, "Traceback\ninat.errors.DiskFullError: the disk of /x is full")
    assert isinstance(lifecycle.error, DiskFullError)
    assert re.search(r"is full; .*--resume .*study", str(lifecycle.error))
    assert [t.trial_id for t in study.unfinished()] == [trial_id]


def test_running_trials_at_the_target_accuracy_are_completed(study):
    reached, behind = study.add_trial({"x": 1}), study.add_trial({"x": 2})
    run_epochs(study, reached.trial_id, [0.5, 0.95])
    run_epochs(study, behind.trial_id, [0.6])
    make_lifecycle(study).end_at_target(lambda trial: trial.best_value >= 0.9)
    assert (reached.state, behind.state) == ("completed", "running")
    assert reached.error == "ended at the target accuracy"
    assert study.best() is reached


def test_trials_whose_end_a_killed_driver_could_not_write_are_ended(study):
    for value in (0.9, 0.9, 0.9, 0.1, 0.95):
        run_epochs(study, study.add_trial({"x": value}).trial_id, [value])
    finish_interrupted(study, asha_for(study, **ASHA))
    # t0003 is below the cut-off of the three before it.
    assert {t.trial_id: t.state for t in study.ended()} == {"t0003": "stopped"}
    assert [t.trial_id for t in study.unfinished()] == ["t0000", "t0001", "t0002", "t0004"]


def test_a_trial_that_reported_its_own_end_is_completed(study):
    trial = study.add_trial({"x": 2})
    run_epochs(study, trial.trial_id, [0.2, 0.3], finished="patience")
    finish_interrupted(study, asha_for(study, **ASHA))
    assert trial.state == "completed"
