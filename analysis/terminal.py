"""The console on which commands print texts that hold names of images, classes, trials or paths."""

from typing import IO, Any

from rich.console import Console
from rich.text import Text

from analysis.escaping import LAYOUT, printable


class PlainConsole(Console):
    """A console that prints strings, also in cells of tables, as they are: no markup, no emoji, no control characters.

    A name such as ``[red]`` or ``:bomb:`` stays as it is, and one with an escape sequence cannot change the terminal.
    """

    def __init__(
        self, *, file: IO[str] | None = None, stderr: bool = False, width: int | None = None, soft_wrap: bool = True
    ) -> None:
        super().__init__(
            file=file, stderr=stderr, width=width, soft_wrap=soft_wrap, markup=False, highlight=False, emoji=False
        )

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(printable(text, LAYOUT), **options)
