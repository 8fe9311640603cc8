"""What Ray's error texts mean; the only module that reads them.

Ray describes the death of a process in English and offers no code for the cause. tests/contracts/test_ray.py
checks the phrases that the installed version of Ray must write.
"""

import re

import inat.errors as errors  # not "from inat": the package imports what is above this module

HUNG = "no epoch within --trial-timeout"  # the error of a trial that hung; inat writes it, not Ray

_NODE_ERROR = errors.NodeError.__name__
_USER_ERRORS = "|".join(name for name, kind in vars(errors).items() if isinstance(kind, type) and name != _NODE_ERROR)
_IS_USER_ERROR = re.compile(rf"^(?:inat\.errors\.)?(?:{_USER_ERRORS}): ", re.MULTILINE)
_IS_NODE_ERROR = re.compile(rf"^(?:inat\.errors\.)?{_NODE_ERROR}: ", re.MULTILINE)

# The process cannot load the trial: the node has no copy of this package, or an older one.
_NOT_INSTALLED = re.compile(r"^ModuleNotFoundError: No module named 'inat['.]", re.MULTILINE)

# Phrases for a process that died with its node or cannot be reached. A traceback may quote any of them, so they count
# only before it; within the traceback, the exceptions of Ray count.
NODE_DEATHS = ("node has died", "node died", "node was dead", "node was marked dead", "NODE_DIED", "raylet died",
               "raylet has died", "its owner has died", "Owner's node has crashed")  # fmt: skip
_NODE_DEATH = re.compile("|".join([*map(re.escape, NODE_DEATHS), r"^The actor \w+ is unavailable: "]), re.MULTILINE)
_TRACEBACK = re.compile(r"ray::|^Traceback ", re.MULTILINE)
_NODE_EXCEPTION = re.compile(r"^ray\.exceptions\.(?:NodeDied|ActorUnavailable|LocalRayletDied)Error\b", re.MULTILINE)

# The beginning of the error of a trial whose process died or hung. Not later: the text of an exception that user code
# raises may also say that something died.
_PROCESS_DEATH = re.compile(
    r"(?:ray\.exceptions\.\w+: )?"
    r"(?:The (?:actor|worker) (?:died|is dead|experienced an error)|The task's local raylet died"
    r"|Task failed because the node|no epoch within)"
)


def is_process_death(error: str) -> bool:
    """Whether the error of a failed trial, as trials.csv has it, says that its process died or was ended as hung."""
    return _PROCESS_DEATH.match(error) is not None


def is_node_error(failure: str) -> bool:
    """Whether the trial itself reported that its node lacks something (``NodeError``)."""
    return _IS_NODE_ERROR.search(failure) is not None


def is_node_failure(failure: str) -> bool:
    """Whether a trial failed because its node died, cannot be reached, or lacks what trials need."""
    if any(pattern.search(failure) for pattern in (_IS_NODE_ERROR, _NOT_INSTALLED, _NODE_EXCEPTION)):
        return True
    return _NODE_DEATH.search(_TRACEBACK.split(failure, maxsplit=1)[0]) is not None


def is_permanent(failure: str) -> bool:
    """Whether the trial would fail again: it ended with an error that the user has to act on.

    A ``NodeError`` quotes the error that it was concluded from, which another node may not have.
    """
    return not is_node_failure(failure) and _IS_USER_ERROR.search(failure) is not None


def reason_of(failure: str) -> str:
    """One line about a failure: the exception at the end of a traceback, else the first line about the dead process."""
    lines = [line.strip() for line in failure.splitlines() if line.strip()]
    if not lines:
        return "no reason known"
    return lines[-1] if any("Traceback" in line or line.startswith("ray::") for line in lines) else lines[0]
