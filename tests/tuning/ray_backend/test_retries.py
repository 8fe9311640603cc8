import pickle

import pytest
from ray import tune

from inat.tuning.ray_backend.retries import MAX_FREE_NODE_DEATHS, MAX_FREE_NODE_ERRORS, RetryPolicy, StudyTrial

NODE_DIED = "The actor died because its node has died. Node Id: a1"
PROCESS_DIED = "The actor died unexpectedly before finishing this task."


def make_trial(retries: RetryPolicy, monkeypatch) -> StudyTrial:
    monkeypatch.setattr(StudyTrial, "local_path", None)  # otherwise Tune writes each failure into a file
    tune.register_trainable("no-trial", print)
    return StudyTrial("no-trial", trial_id="t0000", retries=retries, classes={})


@pytest.mark.parametrize(
    ("failure", "free"),
    [
        (NODE_DIED, MAX_FREE_NODE_DEATHS),
        ("inat.errors.NodeError: no photos [node a1]", MAX_FREE_NODE_ERRORS),
        ("ValueError: x", 0),
        (PROCESS_DIED, 0),
    ],
)
def test_failures_of_the_node_do_not_count_a_limited_number_of_times(monkeypatch, failure, free):
    trial = make_trial(RetryPolicy(max_failures=2), monkeypatch)
    for _ in range(free):
        trial.handle_error(RuntimeError(failure))
        assert trial.num_failures == 0
    trial.handle_error(RuntimeError(failure))
    assert trial.num_failures == 1


def test_a_trial_runs_again_as_often_as_max_failures_allows(monkeypatch):
    trial = make_trial(RetryPolicy(max_failures=2), monkeypatch)
    answers = []
    for _ in range(3):
        trial.handle_error(RuntimeError("ValueError: x"))
        answers.append(trial.should_recover())
    assert answers == [True, True, False]


def test_an_error_that_the_user_has_to_act_on_is_not_tried_again(monkeypatch):
    trial = make_trial(RetryPolicy(max_failures=2), monkeypatch)
    trial.handle_error(RuntimeError("Traceback\ninat.errors.ConfigError: too deep"))
    assert not trial.should_recover()


def test_the_death_of_a_process_that_tune_reports_twice_counts_once(monkeypatch):
    trial = make_trial(RetryPolicy(max_failures=2), monkeypatch)
    for count in (1, 2):
        failure = RuntimeError(PROCESS_DIED)
        trial.handle_error(failure)
        trial.handle_error(failure)
        assert trial.num_failures == count


def test_the_text_of_a_failure_has_no_colours(monkeypatch):
    trial = make_trial(RetryPolicy(max_failures=2), monkeypatch)
    trial.handle_error(RuntimeError("\x1b[36mray::f()\x1b[39m\nValueError: x"))
    assert trial.last_failure == "ray::f()\nValueError: x"


def test_a_trial_that_never_began_is_requeued_as_often_as_max_failures_allows():
    retries = RetryPolicy(max_failures=2)
    assert [retries.may_requeue("t0000", PROCESS_DIED, counted=1) for _ in range(3)] == [True, True, False]
    assert retries.may_requeue("t0001", PROCESS_DIED, counted=2)
    assert not retries.may_requeue("t0002", PROCESS_DIED, counted=3)
    assert not retries.may_requeue("t0003", "inat.errors.ConfigError: too deep", counted=0)


def test_deaths_of_nodes_before_a_trial_began_do_not_count_a_limited_number_of_times():
    retries = RetryPolicy(max_failures=0)
    answers = [retries.may_requeue("t0000", NODE_DIED, counted=0) for _ in range(MAX_FREE_NODE_DEATHS + 1)]
    assert answers == [True] * MAX_FREE_NODE_DEATHS + [False]


def test_a_trial_can_stand_in_a_snapshot_of_tune(monkeypatch):
    trial = make_trial(RetryPolicy(max_failures=2), monkeypatch)
    trial.handle_error(RuntimeError("ValueError: x"))
    assert trial.get_json_state()
    assert pickle.loads(pickle.dumps(RetryPolicy(2)))


def test_trials_of_a_run_share_the_class_of_their_trainable_and_leave_nothing_to_snapshots(monkeypatch):
    asked = []

    def get_class(name):
        asked.append(name)
        return object()

    monkeypatch.setattr("ray.tune.experiment.trial.get_trainable_cls", get_class)
    classes: dict[str, object] = {}
    first, second = (
        StudyTrial("one", trial_id=f"t000{i}", retries=RetryPolicy(max_failures=0), classes=classes) for i in range(2)
    )
    assert first.get_trainable_cls() is first.get_trainable_cls() is second.get_trainable_cls()
    assert asked == ["one"]
    assert first.get_json_state() == ("{}", "{}")
