import traceback
from types import SimpleNamespace

import pytest
from ray.tune.experiment.trial import _TrainingRunMetadata

from inat.errors import DataError
from inat.tuning.failures import MOST_ACCUSED, MOST_LOSSES, StudyTrial, hopeless, reason_of
from inat.tuning.fitness import blaming_the_machine

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
        ("ray::f() (pid=1)\n  File x\ninat.errors.MachineError: no photos [node a1]", False),
        ("The actor died unexpectedly.", False),
    ],
)
def test_errors_for_the_user_are_not_tried_again(tmp_path, monkeypatch, failure, expected):
    assert hopeless(failure) == expected
    (tmp_path / "error.txt").write_text(f"Failure # 1 (at)\n{failure}\n")
    monkeypatch.setattr(StudyTrial, "error_file", str(tmp_path / "error.txt"))
    trial = StudyTrial.__new__(StudyTrial)
    trial.run_metadata, trial.max_failures = SimpleNamespace(num_failures=1), 2
    assert trial.should_recover() == (not expected)


@pytest.mark.parametrize("error", [DataError("no photos"), OSError(30, "Read-only file system")])
def test_what_a_machine_lacks_is_tried_again_elsewhere(error):
    try:
        with blaming_the_machine("b2", "a1"):
            raise error
    except Exception:
        failure = traceback.format_exc()
    assert f"{error}" in failure.partition("direct cause")[0]
    assert not hopeless(failure)


@pytest.mark.parametrize(
    ("failure", "spared"),
    [
        ("The actor died because its node has died. Node Id: a1", MOST_LOSSES),
        (
            "The actor a1 is unavailable: RpcError. The task may or may not have been executed on the actor.",
            MOST_LOSSES,
        ),
        ("inat.errors.MachineError: no photos [node a1]", MOST_ACCUSED),
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
