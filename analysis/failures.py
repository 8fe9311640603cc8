"""Parts of a report that fail: the rest is written all the same, and the user is told."""

import sys
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from analysis.terminal import PlainConsole
from analysis.wording import sentence_of

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Failure:
    """A part of a report, or a table of a command, and the error that it failed with."""

    part: str
    error: Exception

    @property
    def text(self) -> str:
        """What stands in place of the part."""
        return f"This section failed: {sentence_of(self.error)}."


def attempt(part: str, make: Callable[[], T], failures: list[Failure]) -> T | None:
    """The result of ``make``; None, and an entry in ``failures``, if it raises an error."""
    try:
        return make()
    except Exception as error:
        failures.append(Failure(part, error))
        return None


def warn(failures: Iterable[Failure], debug: bool = False) -> None:
    """Print one line per failure to stderr, and with ``debug`` its traceback."""
    console = PlainConsole(stderr=True)
    for failure in failures:
        if debug:
            traceback.print_exception(failure.error, file=sys.stderr)
        hint = "" if debug else "; --debug shows the traceback"
        console.print(f"warning: {failure.part} failed ({sentence_of(failure.error)}){hint}")
