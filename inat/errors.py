"""Errors for the user: each text names what is wrong, where, and what to do."""

import os


class InatError(Exception):
    """Base of the errors that a command shows as one line; the command exits with ``exit_code``."""

    exit_code = 1


class ConfigError(InatError):
    """Settings are wrong or contradict each other; ``problems`` has one message per mistake."""

    exit_code = 2

    def __init__(self, *problems: str) -> None:
        super().__init__(*problems)
        self.problems = problems

    def __str__(self) -> str:
        return "; ".join(self.problems)


class DataError(InatError):
    """The images are missing, misplaced or unreadable."""

    exit_code = 2


class CacheFullError(DataError):
    """The disk of the cache is full; a caller that can work without the cache goes on."""


class StudyError(InatError):
    """A study directory cannot be created, opened or continued."""

    exit_code = 2


class DiskFullError(StudyError):
    """The disk of a study is full; the search stops, and can be resumed when there is space."""


class NodeError(InatError):
    """A node of the cluster lacks something that trials need; other nodes may have it."""


class SearchError(InatError):
    """The search has no result, for example because every trial failed."""


class Interruption(KeyboardInterrupt):  # no error: the user wanted it
    """The user has ended a search that can be continued; how has been printed."""


def system_error(error: OSError) -> InatError:
    """The error to show if the operating system refused something where no better message is known."""
    place = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else "this machine"
    return InatError(
        f"{place} cannot be used ({error.strerror or error}); check that it exists, its permissions and its disk, or "
        "pass --debug to see who needs it"
    )
