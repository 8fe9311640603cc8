import traceback

import pytest

from inat.errors import DataError
from inat.tuning.ray_backend.error_texts import is_node_failure, is_permanent, reason_of
from inat.tuning.ray_backend.node_checks import as_node_error

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
def test_errors_for_the_user_are_permanent(failure, expected):
    assert is_permanent(failure) == expected


@pytest.mark.parametrize("error", [DataError("no photos"), OSError(30, "Read-only file system")])
def test_an_error_that_only_the_node_has_is_not_permanent(error):
    try:
        with as_node_error("b2", "a1"):
            raise error
    except Exception:
        failure = traceback.format_exc()
    assert f"{error}" in failure.partition("direct cause")[0]
    assert not is_permanent(failure)


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        ("The actor died because its node has died. Node Id: a1", True),
        ("The actor is dead because its owner has died. Owner Id: b2", True),
        ("The actor a1 is unavailable: RpcError. The task may or may not have been executed on the actor.", True),
        ("inat.errors.NodeError: no photos [node a1]", True),
        (f"{NOT_LOADED}ModuleNotFoundError: No module named 'inat'", True),
        (f"{NOT_LOADED}ModuleNotFoundError: No module named 'inat.tuning'", True),
        (f"{NOT_LOADED}ModuleNotFoundError: No module named 'inatx'", False),
        ("ray::f() (pid=1)\n  File x\nray.exceptions.NodeDiedError: the node is gone", True),
        ("ray::f() (pid=1)\n  File x\nRuntimeError: cuDNN is unavailable: node died", False),
        ("Traceback (most recent call last):\n  File x\nRuntimeError: The actor a1 is unavailable: quoted", False),
        ("ValueError: x", False),
        ("The actor died unexpectedly.", False),
    ],
)
def test_failures_of_the_node_are_told_from_failures_of_the_trial(failure, expected):
    assert is_node_failure(failure) == expected
