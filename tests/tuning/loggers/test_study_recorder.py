from types import SimpleNamespace

import pytest

from inat.tuning.lifecycle import TrialLifecycle
from inat.tuning.loggers.study_recorder import StudyRecorder
from inat.tuning.ray_backend.asha import StudyASHA
from inat.tuning.ray_backend.retries import RetryPolicy


def make_recorder(study, max_failures=0, requeue=print, callbacks=(), **options) -> StudyRecorder:
    scheduler = StudyASHA(max_epochs=9, grace_period=1, reduction_factor=3)
    lifecycle = TrialLifecycle(study, scheduler, keep_checkpoints=2, callbacks=list(callbacks))
    return StudyRecorder(lifecycle, RetryPolicy(max_failures), requeue, **options)


def tune_trial(study, failure="") -> SimpleNamespace:
    metadata = SimpleNamespace(num_failures=1)
    return SimpleNamespace(trial_id=study.add_trial({"x": 1}).trial_id, last_failure=failure, run_metadata=metadata)


def test_epochs_that_travel_with_a_report_come_before_it(study):
    epochs = []
    recorder = make_recorder(study, callbacks=[lambda trial: epochs.append(trial.epochs)])
    before = [{"epoch": 1, "best_val_acc": 0.5}, {"epoch": 2, "best_val_acc": 0.6}]
    result = {"epoch": 3, "best_val_acc": 0.7, "hostname": "node7", "epochs_before": before}
    recorder.on_trial_result(0, [], tune_trial(study), result)
    assert [(row["epoch"], row["best_val_acc"]) for _, row in study.reported_epochs] == [(1, 0.5), (2, 0.6), (3, 0.7)]
    assert epochs == [1, 2, 3]
    assert study.trials["t0000"].node == "node7"


def test_a_trial_that_tune_completes_is_completed(study):
    recorder, trial = make_recorder(study), tune_trial(study)
    recorder.on_trial_result(0, [], trial, {"epoch": 1, "best_val_acc": 0.5})
    recorder.on_trial_complete(0, [], trial)
    assert study.trials[trial.trial_id].state == "completed"


def test_a_trial_whose_process_died_before_it_began_is_requeued_as_often_as_max_failures_allows(study):
    requeued = []
    recorder = make_recorder(study, max_failures=2, requeue=requeued.append)
    trial = tune_trial(study, "The actor died unexpectedly before finishing this task.")
    for tries in (1, 2):
        recorder.on_trial_error(0, [], trial)
        assert study.trials[trial.trial_id].state == "running"
        assert requeued == [trial.trial_id] * tries
    recorder.on_trial_error(0, [], trial)
    assert study.trials[trial.trial_id].state == "failed"
    assert requeued == [trial.trial_id] * 2


def test_a_trial_that_tune_has_tried_often_enough_fails(study):
    recorder, trial = make_recorder(study, max_failures=2), tune_trial(study, "ValueError: x")
    trial.run_metadata.num_failures = 3
    recorder.on_trial_error(0, [], trial)
    assert (study.trials[trial.trial_id].state, study.trials[trial.trial_id].error) == ("failed", "ValueError: x")


def test_an_error_that_the_user_has_to_act_on_fails_at_once(study):
    trial = tune_trial(study, "Traceback\ninat.errors.ConfigError: too deep")
    make_recorder(study, max_failures=2).on_trial_error(0, [], trial)
    assert study.trials[trial.trial_id].error == "inat.errors.ConfigError: too deep"


@pytest.mark.parametrize(("ray_died", "state"), [(True, "running"), (False, "failed")])
def test_a_trial_whose_process_died_with_ray_stays_unfinished(study, ray_died, state):
    recorder = make_recorder(study, max_failures=-1, has_ray_died=lambda: ray_died)
    trial = tune_trial(study, "The actor died unexpectedly before finishing this task.")
    recorder.on_trial_error(0, [], trial)
    assert study.trials[trial.trial_id].state == state


def test_the_error_of_a_trial_itself_does_not_wait_for_ray(study):
    recorder, trial = make_recorder(study, has_ray_died=pytest.fail), tune_trial(study, "ray::x\nValueError: broken")
    recorder.on_trial_error(0, [], trial)
    assert study.trials[trial.trial_id].state == "failed"
