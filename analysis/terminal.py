"""What commands print: names of strangers as they are, in any encoding of the terminal, and no notes of libraries."""

import codecs
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from analysis.escaping import LAYOUT, printable

_quiet = False
LONGEST_LINE = 1000  # characters of a row of a table


class PlainConsole(Console):
    """A console that prints strings, also in cells of tables, as they are: no markup, no emoji, no control characters.

    In a notebook it prints text, and no HTML. A name such as ``[red]`` or ``:bomb:`` stays as it is, and one with an
    escape sequence cannot change the terminal.
    """

    def __init__(
        self, *, file: IO[str] | None = None, stderr: bool = False, width: int | None = None, soft_wrap: bool = True
    ) -> None:
        super().__init__(
            file=file, stderr=stderr, width=width, soft_wrap=soft_wrap, markup=False, highlight=False, emoji=False,
            quiet=_quiet, force_jupyter=False,
        )  # fmt: skip

    def print_whole(self, table: Table) -> None:
        """Print a table with whole cells, on lines longer than the terminal or the 80 columns of a file if need be."""
        unlimited = self.options.update(width=LONGEST_LINE)
        self.width = max(self.width, Measurement.get(self, unlimited, table).maximum)
        self.print(table)

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(printable(text, LAYOUT), **options)


@contextmanager
def quiet(really: bool = True) -> Iterator[None]:
    """Let consoles that are made meanwhile print nothing, if ``really``."""
    global _quiet
    before, _quiet = _quiet, really
    try:
        yield
    finally:
        _quiet = before


def prepare_output() -> None:
    """Make stdout and stderr print every text: a file name that is not UTF-8 as its bytes, other signs as escapes."""
    codecs.register_error(_encode.__name__, _encode)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # not in a notebook
            stream.reconfigure(errors=_encode.__name__)
    # Without a home to write to, Matplotlib works with a temporary folder, and says so in two long lines.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)


def _encode(error: UnicodeError) -> tuple[bytes, int]:
    assert isinstance(error, UnicodeEncodeError)
    signs = error.object[error.start : error.end]
    try:
        return signs.encode(error.encoding, "surrogateescape"), error.end
    except UnicodeEncodeError:
        return signs.encode(error.encoding, "backslashreplace"), error.end
