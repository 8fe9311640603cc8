import csv
import errno
import os
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from inat.errors import DiskFullError, StudyError
from inat.study import study as study_module
from inat.study.study import Study
from inat.tuning.loggers.study_recorder import StopAtError, StudyRecorder, finish_interrupted, outcome
from inat.tuning.ray_backend.asha import StudyASHA, asha_for
from inat.tuning.ray_backend.trials import MOST_LOSSES
from tests.helpers import run_epochs

ASHA = {"max_epochs": 9, "grace_period": 1, "reduction_factor": 3}


def recorder(study, scheduler, heard):
    listeners = [lambda t: heard.append((t.trial_id, t.state))]
    return StudyRecorder(study, scheduler, keep_checkpoints=2, listeners=listeners)


def test_writes_epochs_states_and_reasons(study, tmp_path):
    scheduler, heard = StudyASHA(**ASHA), []
    callback = recorder(study, scheduler, heard)
    for _ in range(3):
        study.add_trial({"x": 1})
    error_file = tmp_path / "error.txt"
    error_file.write_text("Failure # 1 (at)\nold\nFailure # 2 (at)\nTraceback\n  File\nValueError: too large\n\n")
    metadata = SimpleNamespace(num_failures=1)
    tune_trials = [
        SimpleNamespace(trial_id=f"t{i:04d}", error_file=str(error_file), run_metadata=metadata) for i in range(3)
    ]
    for trial in tune_trials:
        result = {"epoch": 1, "best_val_acc": 0.5, "hostname": "node7", "pid": 1}
        callback.on_trial_result(0, [], trial, result)
    scheduler.stopped_early.add("t0001")
    callback.on_trial_complete(0, [], tune_trials[0])
    callback.on_trial_complete(0, [], tune_trials[1])
    callback.on_trial_error(0, [], tune_trials[2])
    assert [t.state for t in study.trials.values()] == ["completed", "stopped", "failed"]
    assert study.trials["t0002"].error == "ValueError: too large"
    assert (study.directory / "errors" / "t0002.txt").read_text() == "Traceback\n  File\nValueError: too large\n\n"
    assert study.trials["t0000"].node == "node7"
    assert heard[:3] == [("t0000", "running"), ("t0001", "running"), ("t0002", "running")]
    assert heard[3:] == [("t0000", "completed"), ("t0001", "stopped"), ("t0002", "failed")]


def test_epochs_that_travel_with_a_report_come_before_it(study):
    heard = []
    callback = StudyRecorder(study, StudyASHA(**ASHA), 2, [lambda t: heard.append(t.epochs)])
    study.add_trial({"x": 1})
    before = [{"epoch": 1, "best_val_acc": 0.5}, {"epoch": 2, "best_val_acc": 0.6}]
    result = {"epoch": 3, "best_val_acc": 0.7, "hostname": "node7", "epochs_before": before}
    callback.on_trial_result(0, [], SimpleNamespace(trial_id="t0000"), result)
    assert [(row["epoch"], row["best_val_acc"]) for _, row in study.reported_epochs] == [(1, 0.5), (2, 0.6), (3, 0.7)]
    assert heard == [1, 2, 3]


def test_outcomes_that_need_a_remark(study):
    silent, diverged = study.add_trial({"x": 1}), study.add_trial({"x": 2})
    run_epochs(study, diverged.trial_id, [0.1, 0.1], finished="diverged")
    assert outcome(silent, StudyASHA(**ASHA)) == ("failed", "ended without reporting an epoch")
    assert outcome(diverged, StudyASHA(**ASHA)) == ("completed", "diverged at epoch 2")
    small = study.add_trial({"x": 3})
    run_epochs(study, small.trial_id, [0.1, 0.2], micro_batch=8)
    state, remark = outcome(small, StudyASHA(**ASHA))
    assert (state, remark) == ("completed", "in micro-batches of 8: the device has too little memory for whole ones")


def test_a_note_of_the_training_stands_in_the_tables_error_column(study):
    trial = study.add_trial({"x": 1})
    callback = recorder(study, StudyASHA(**ASHA), [])
    tune_trial = SimpleNamespace(trial_id=trial.trial_id)
    note = "trained through the frozen stages in every epoch: their features take 9 GB, more than --max-feature-gb 1"
    row = {"epoch": 1, "best_val_acc": 0.5, "note": note, "trainable_parameters": 12_810, "micro_batch": 8}
    callback.on_trial_result(0, [], tune_trial, row)
    callback.on_trial_complete(0, [], tune_trial)
    study.write_trials()
    with (study.directory / "trials.csv").open() as file:
        (written,) = csv.DictReader(file)
    assert written["error"] == f"{note}; in micro-batches of 8: the device has too little memory for whole ones"
    assert written["trainable_parameters"] == "12810"
    reopened = Study.open(_closed(study))
    assert reopened.trials[trial.trial_id].trainable_parameters == 12_810
    reopened.close()


def test_a_trial_ends_once_and_has_no_epochs_behind_its_end(study):
    callback = recorder(study, StudyASHA(**ASHA), heard := [])
    tune_trial = SimpleNamespace(trial_id=study.add_trial({"x": 1}).trial_id)
    callback.on_trial_result(0, [], tune_trial, {"epoch": 1, "best_val_acc": 0.5})
    callback.on_trial_complete(0, [], tune_trial)
    callback.on_trial_result(0, [], tune_trial, {"epoch": 1, "best_val_acc": 0.1})
    callback.on_trial_complete(0, [], tune_trial)
    assert heard == [("t0000", "running"), ("t0000", "completed")]
    assert len(study.ended_in_order) == len(study.reported_epochs) == 1


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (errno.ENOSPC, "the disk of .* is full; .*--resume"),
        (errno.EIO, "cannot be written .Input/output error.; .*--resume"),
    ],
)
def test_what_cannot_be_written_stops_the_search_and_nothing_more_is_written(study, monkeypatch, fault, message):
    callback = recorder(study, StudyASHA(**ASHA), heard := [])
    stop = StopAtError(callback)
    one, two = (SimpleNamespace(trial_id=study.add_trial({"x": i}).trial_id) for i in range(2))
    assert not stop.stop_all()

    def fail(path, text, **options):
        raise OSError(fault, os.strerror(fault))

    with monkeypatch.context() as patch:
        patch.setattr(study_module, "atomic_write", fail)
        callback.on_trial_result(0, [], one, {"epoch": 1, "best_val_acc": 0.5})
        callback.on_trial_complete(0, [], one)
    assert stop.stop_all()
    assert isinstance(callback.error, StudyError)
    assert re.search(message, str(callback.error))
    before = len(heard)
    callback.on_trial_result(0, [], two, {"epoch": 1, "best_val_acc": 0.5})
    callback.on_trial_complete(0, [], two)
    assert len(heard) == before
    assert study.trials[two.trial_id].state == "running"


def _closed(study) -> Path:
    study.close()
    return study.directory


def failing(study, tmp_path, text: str) -> SimpleNamespace:
    trial = study.add_trial({"x": 1})
    error_file = tmp_path / f"{trial.trial_id}.txt"
    error_file.write_text(f"Failure # 1 (at)\n{text}\n")
    metadata = SimpleNamespace(num_failures=1)
    return SimpleNamespace(trial_id=trial.trial_id, error_file=str(error_file), run_metadata=metadata)


def test_a_trial_whose_process_died_before_it_began_stays_to_be_run_again(study, tmp_path):
    scheduler = StudyASHA(**ASHA)
    callback = StudyRecorder(study, scheduler, keep_checkpoints=2, listeners=[], max_failures=2)
    again = []
    callback.requeue = again.append
    trial = failing(study, tmp_path, "The actor died unexpectedly before finishing this task.")
    for tries in (1, 2):
        callback.on_trial_error(0, [], trial)
        assert study.trials[trial.trial_id].state == "running"
        assert again == [trial.trial_id] * tries
    callback.on_trial_error(0, [], trial)
    assert study.trials[trial.trial_id].state == "failed"
    assert again == [trial.trial_id] * 2


def test_a_machine_that_dies_before_a_trial_began_there_does_not_count_but_not_for_ever(study, tmp_path):
    callback = StudyRecorder(study, StudyASHA(**ASHA), keep_checkpoints=2, listeners=[], max_failures=0)
    trial = failing(study, tmp_path, "The actor died because its node has died. Node Id: a1")
    trial.run_metadata.num_failures = 0  # as StudyTrial leaves it
    for _ in range(MOST_LOSSES):
        callback.on_trial_error(0, [], trial)
        assert study.trials[trial.trial_id].state == "running"
    callback.on_trial_error(0, [], trial)
    assert study.trials[trial.trial_id].state == "failed"


def test_a_trial_that_tune_has_tried_often_enough_fails(study, tmp_path):
    callback = StudyRecorder(study, StudyASHA(**ASHA), keep_checkpoints=2, listeners=[], max_failures=2)
    trial = failing(study, tmp_path, "ValueError: x")
    trial.run_metadata.num_failures = 3
    callback.on_trial_error(0, [], trial)
    assert (study.trials[trial.trial_id].state, study.trials[trial.trial_id].error) == ("failed", "ValueError: x")


def test_a_trial_that_hung_says_so(study, tmp_path):
    trial = failing(study, tmp_path, "The actor died unexpectedly before finishing this task.")
    (study.directory / "errors").mkdir()
    (study.directory / "errors" / f"{trial.trial_id}.hang.txt").write_text("File x, line 3 in train")
    recorder(study, StudyASHA(**ASHA), []).on_trial_error(0, [], trial)
    assert study.trials[trial.trial_id].error == "no epoch within --trial-timeout"


def test_an_empty_file_of_the_watchdog_is_no_hang(study, tmp_path):
    trial = failing(study, tmp_path, "The actor died unexpectedly before finishing this task.")
    (study.directory / "errors").mkdir()
    (study.directory / "errors" / f"{trial.trial_id}.hang.txt").touch()  # as it is while a trial runs
    recorder(study, StudyASHA(**ASHA), []).on_trial_error(0, [], trial)
    assert study.trials[trial.trial_id].error == "The actor died unexpectedly before finishing this task."


def test_a_trial_that_cannot_heal_fails_at_once(study, tmp_path):
    callback = StudyRecorder(study, StudyASHA(**ASHA), keep_checkpoints=2, listeners=[], max_failures=2)
    trial = failing(study, tmp_path, "Traceback\ninat.errors.ConfigError: too deep")
    callback.on_trial_error(0, [], trial)
    assert study.trials[trial.trial_id].error == "inat.errors.ConfigError: too deep"


def test_a_full_disk_ends_the_search_and_leaves_the_trial_to_be_resumed(study, tmp_path):
    trial = failing(study, tmp_path, "Traceback\ninat.errors.DiskFullError: the disk of /x is full")
    callback = recorder(study, StudyASHA(**ASHA), [])
    callback.on_trial_error(0, [], trial)
    assert isinstance(callback.error, DiskFullError)
    assert re.search(r"is full; .*go on with --resume .*study", str(callback.error))
    assert [t.trial_id for t in study.unfinished()] == [trial.trial_id]


def test_settles_what_a_killed_driver_could_not_write_down(study):
    for value in (0.9, 0.9, 0.9, 0.1, 0.95):
        trial = study.add_trial({"x": value})
        run_epochs(study, trial.trial_id, [value])
    finish_interrupted(study, asha_for(study, **ASHA))
    # t0003 is below the cut-off of the three before it.
    assert {t.trial_id: t.state for t in study.ended()} == {"t0003": "stopped"}
    assert [t.trial_id for t in study.unfinished()] == ["t0000", "t0001", "t0002", "t0004"]


def test_settles_a_trial_that_said_it_was_done(study):
    trial = study.add_trial({"x": 2})
    run_epochs(study, trial.trial_id, [0.2, 0.3], finished="patience")
    finish_interrupted(study, asha_for(study, **ASHA))
    assert trial.state == "completed"
