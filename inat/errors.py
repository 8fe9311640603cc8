"""Errors whose text is written for the user: the value, the place and the next step in one sentence."""


class InatError(Exception):
    """Base of all errors the command line shows as one line; ``exit_code`` is the process's exit status."""

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
    """The photographs are missing, misplaced or unreadable."""

    exit_code = 2


class CacheFullError(DataError):
    """The disk of the cache is full: who can do without what was to be kept goes on."""


class StudyError(InatError):
    """A study directory cannot be created, opened or continued."""

    exit_code = 2


class DiskFullError(StudyError):
    """The disk of a study is full: the search has to stop, and can go on once there is space."""


class NodeError(InatError):
    """A machine of the cluster lacks what trials need there; the others may have it."""


class SearchError(InatError):
    """The search ran but has no result, for example because every trial failed."""
