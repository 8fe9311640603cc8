"""What the program prints while the page is shown: its lines are kept for the page, and printed afterwards."""

import io
import threading
from collections.abc import Callable
from typing import TextIO

from rich.text import Text

from analysis.wording import counted_as

KEPT_LINES = 500


class Printed:
    """The last KEPT_LINES lines, without colours; equal ones, as of each worker, are one line and counted."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._left_out = 0
        self._lock = threading.Lock()

    def add(self, line: str) -> None:
        """Add a line; an equal one moves to the end."""
        plain = Text.from_ansi(line).plain.rstrip()
        if not plain:
            return
        with self._lock:
            self._counts[plain] = self._counts.pop(plain, 0) + 1
            if len(self._counts) > KEPT_LINES:
                del self._counts[next(iter(self._counts))]
                self._left_out += 1

    def lines(self, count: int = KEPT_LINES) -> list[str]:
        """The last ``count`` lines, each with how often it was printed."""
        with self._lock:
            last = list(self._counts.items())[-count:]
        return [f"{line} ({times} times)" if times > 1 else line for line, times in last]

    def take(self) -> list[str]:
        """All lines, which are forgotten, behind one about earlier lines."""
        left_out = f"({counted_as(self._left_out, 'earlier line')} left out)"
        lines = [left_out] * bool(self._left_out) + self.lines()
        with self._lock:
            self._counts, self._left_out = {}, 0
        return lines


class LineWriter(io.TextIOBase):
    """A text stream that hands each line to ``sink``; ``encoding`` and descriptor are those of ``original``."""

    def __init__(self, sink: Callable[[str], object], original: TextIO) -> None:
        self._sink, self._original, self._rest = sink, original, ""
        self._lock = threading.Lock()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """As the stream that this one stands for."""
        return self._original.encoding

    def fileno(self) -> int:
        return self._original.fileno()

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        with self._lock:
            *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._sink(line.rstrip("\r").rpartition("\r")[2])  # a bar that was drawn again and again
        return len(text)

    def finish(self) -> None:
        """Hand on a last line without a line break."""
        if self._rest:
            self.write("\n")
