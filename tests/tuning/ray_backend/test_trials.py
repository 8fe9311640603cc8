import traceback
from types import SimpleNamespace

import pytest
from ray import tune
from ray.tune.experiment.trial import _TrainingRunMetadata

from inat.errors import DataError
from inat.tuning.ray_backend.nodes import as_node_error
from inat.tuning.ray_backend.trials import MOST_ACCUSED, MOST_LOSSES, StudyTrial, StudyTrials, is_permanent, reason_of
from inat.tuning.sampling.feedback import Rungs
from inat.tuning.sampling.searcher import BudgetAwareOptunaSearch, SearcherOptions

SPACE = {"x": tune.uniform(0.0, 1.0)}


@pytest.fixture
def trials(study):
    """Of three that may run one at a time."""
    search = BudgetAwareOptunaSearch(study, SPACE, SearcherOptions(rungs=Rungs(grace=1, factor=3, max_epochs=9)))
    made = StudyTrials(search, max_concurrent=1)
    tune.register_trainable("no-trial", print)  # here, without Ray
    made.add_configurations({"any": {"run": "no-trial", "num_samples": 3, "config": {"patience": 2}}})
    return made


def test_trials_have_the_studys_ids_and_settings_and_are_as_many_as_wanted(trials):
    made = []
    while not trials.is_finished():
        made.append(trials.next_trial())
        assert trials.next_trial() is None
        trials.on_trial_complete(made[-1].trial_id)
    assert [trial.trial_id for trial in made] == ["t0000", "t0001", "t0002"]
    assert all(trial.config["patience"] == 2 for trial in made)


def test_more_run_at_a_time_once_there_is_more_room(trials):
    trials.resize(2)
    assert trials.next_trial()
    assert trials.next_trial()
    assert trials.next_trial() is None


@pytest.mark.parametrize("before", [0, 2])
def test_a_trial_that_never_began_is_handed_out_again_before_new_ones_and_counts_once(trials, before):
    for _ in range(before):
        trials.on_trial_complete(trials.next_trial().trial_id)
    lost = trials.next_trial()
    trials.on_trial_complete(lost.trial_id, error=True)  # Tune has given it up
    trials.requeue(lost.trial_id)
    again = trials.next_trial()
    assert again is not lost
    assert (again.trial_id, again.config) == (lost.trial_id, lost.config)
    trials.on_trial_complete(again.trial_id)
    left = 0
    while not trials.is_finished():
        trials.on_trial_complete(trials.next_trial().trial_id)
        left += 1
    assert left == 2 - before


NOT_LOADED = "The actor died because of an error raised in its creation task, ray::f.__init__() (pid=1)\n  File x\n"


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        ("ray::f() (pid=1)\n  File x\nValueError: x\n\n", "ValueError: x"),
        (
            "The actor died unexpectedly.\n\tclass_name: f\nWorker exit type: SYSTEM_ERROR",
            "The actor died unexpectedly.",
        ),
        ("", "no reason known"),
    ],
)
def test_the_reason_is_one_line(failure, reason):
    assert reason_of(failure) == reason


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        ("ray::f() (pid=1)\n  File x\ninat.errors.ConfigError: conv_layers=9 halves the image too often", True),
        ("ray::f() (pid=1)\n  File x\ninat.errors.DiskFullError: the disk of /x is full", True),
        ("ray::f() (pid=1)\n  File x\nsklearn.ConfigErrors: ConfigError: quoted", False),
        ("ray::f() (pid=1)\n  File x\nValueError: x", False),
        ("ray::f() (pid=1)\n  File x\ninat.errors.NodeError: no photos [node a1]", False),
        ("The actor died unexpectedly.", False),
    ],
)
def test_errors_for_the_user_are_not_tried_again(tmp_path, monkeypatch, failure, expected):
    assert is_permanent(failure) == expected
    (tmp_path / "error.txt").write_text(f"Failure # 1 (at)\n{failure}\n")
    monkeypatch.setattr(StudyTrial, "error_file", str(tmp_path / "error.txt"))
    trial = StudyTrial.__new__(StudyTrial)
    trial.run_metadata, trial.max_failures = SimpleNamespace(num_failures=1), 2
    assert trial.should_recover() == (not expected)


@pytest.mark.parametrize("error", [DataError("no photos"), OSError(30, "Read-only file system")])
def test_what_a_machine_lacks_is_tried_again_elsewhere(error):
    try:
        with as_node_error("b2", "a1"):
            raise error
    except Exception:
        failure = traceback.format_exc()
    assert f"{error}" in failure.partition("direct cause")[0]
    assert not is_permanent(failure)


@pytest.mark.parametrize(
    ("failure", "spared"),
    [
        ("The actor died because its node has died. Node Id: a1", MOST_LOSSES),
        (
            "The actor a1 is unavailable: RpcError. The task may or may not have been executed on the actor.",
            MOST_LOSSES,
        ),
        ("inat.errors.NodeError: no photos [node a1]", MOST_ACCUSED),
        (f"{NOT_LOADED}ModuleNotFoundError: No module named 'inat'", MOST_LOSSES),
        (f"{NOT_LOADED}ModuleNotFoundError: No module named 'inat.tuning'", MOST_LOSSES),
        (f"{NOT_LOADED}ModuleNotFoundError: No module named 'inatx'", 0),
        ("ray::f() (pid=1)\n  File x\nray.exceptions.NodeDiedError: the node is gone", MOST_LOSSES),
        ("ray::f() (pid=1)\n  File x\nRuntimeError: cuDNN is unavailable: node died", 0),
        ("Traceback (most recent call last):\n  File x\nRuntimeError: The actor a1 is unavailable: quoted", 0),
        ("ValueError: x", 0),
        ("The actor died unexpectedly.", 0),
    ],
)
def test_a_trial_is_not_blamed_for_its_machine_but_not_for_ever(monkeypatch, failure, spared):
    trial = StudyTrial.__new__(StudyTrial)  # without the storage that it would write the failure into
    trial.run_metadata, trial.temporary_state = _TrainingRunMetadata(), SimpleNamespace(restoring_from=None)
    monkeypatch.setattr(StudyTrial, "local_path", None)
    for _ in range(spared):
        trial.handle_error(RuntimeError(failure))
        assert trial.num_failures == 0
    trial.handle_error(RuntimeError(failure))
    assert trial.num_failures == 1


def test_the_death_of_a_process_of_which_tune_tells_twice_counts_once(monkeypatch):
    trial = StudyTrial.__new__(StudyTrial)
    trial.run_metadata, trial.temporary_state = _TrainingRunMetadata(), SimpleNamespace(restoring_from=None)
    monkeypatch.setattr(StudyTrial, "local_path", None)
    for count in (1, 2):
        failure = RuntimeError("The actor died unexpectedly.")
        trial.handle_error(failure)
        trial.handle_error(failure)
        assert trial.num_failures == count
