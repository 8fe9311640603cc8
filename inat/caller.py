"""Who calls: a person who typed a command, or Python code. Messages name the next step in the words of the caller."""

from collections.abc import Iterator
from contextlib import contextmanager

_python = False  # no context variable: threads of a search print messages, too


@contextmanager
def called_from_python() -> Iterator[None]:
    """Name Python functions in messages, and not commands."""
    global _python
    before, _python = _python, True
    try:
        yield
    finally:
        _python = before


def is_python() -> bool:
    """Whether Python code has called."""
    return _python
