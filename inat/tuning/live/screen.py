"""The terminal as one page: the other screen that full-screen programs use, painted by the lines that have changed."""

import io
import os
import select
import sys
import termios
import threading
import time
import tty
from collections.abc import Callable
from contextlib import suppress
from typing import IO, Any

from rich.console import Console, RenderableType

from analysis.terminal import PlainConsole
from inat.tuning.live.keys import decode_keys

ENTER = "\x1b[?1049h\x1b[?25l\x1b[2J"  # the other screen, no cursor, empty
LEAVE = "\x1b[?25h\x1b[?1049l"
BEGIN, END = "\x1b[?2026h", "\x1b[?2026l"  # terminals that know it show all of an update at once
WHOLE_SECONDS = 15.0  # after which the whole page is painted, over what a library may have printed into it
LOCK_SECONDS = 1.0  # a terminal that takes no more output must not keep the program from ending


class Screen:
    """Paints pages on the terminal of ``out``, and reads keys from ``keys`` (None: none).

    ``leave`` gives the terminal back as it was, whatever thread calls it and however often.
    """

    def __init__(self, out: IO[str], keys: int | None) -> None:
        self._out, self._keys = out, keys
        self._lines: list[str] = []
        self._size = (0, 0)
        self._painted = 0.0
        self._mode: list[Any] | None = None
        self._lock = threading.RLock()
        self.console = PlainConsole(file=out, soft_wrap=False)
        self._painter = Console(  # writes into no file, so that a closed terminal is met in ``_write`` only
            file=io.StringIO(),
            force_terminal=self.console.is_terminal,
            color_system=self.console.color_system,  # type: ignore[arg-type]
            no_color=self.console.no_color,
        )
        self.on = self._held = False

    @property
    def size(self) -> tuple[int, int]:
        """Columns and lines of the terminal at this moment."""
        return self.console.size

    @property
    def ascii_only(self) -> bool:
        """Whether the terminal's encoding has no signs beyond ASCII."""
        return self.console.options.ascii_only

    def in_foreground(self) -> bool:
        """Whether the shell has not put this process into the background."""
        return self._keys is None or is_in_foreground(self._keys)

    def enter(self) -> None:
        """Show the page's own screen, and take keys without the Enter key; does nothing while it is held."""
        with self._lock:
            if self.on or self._held:
                return
            if self._keys is not None:
                with suppress(termios.error, OSError):
                    self._mode = termios.tcgetattr(self._keys)
                    tty.setcbreak(self._keys, termios.TCSANOW)
            self.on = True
            self.forget()
            self._write(ENTER)

    def leave(self, *, hold: bool = False) -> None:
        """Show the terminal as it was before ``enter``; with ``hold``, until ``release`` whatever calls ``enter``."""
        locked = self._lock.acquire(timeout=LOCK_SECONDS)
        try:
            self._held = self._held or hold
            if not self.on:
                return
            self.on = False
            if self._keys is not None and self._mode is not None:
                with suppress(termios.error, OSError):
                    termios.tcsetattr(self._keys, termios.TCSANOW, self._mode)
            self._write(LEAVE)
        finally:
            if locked:
                self._lock.release()

    def release(self) -> None:
        """Allow ``enter`` again."""
        self._held = False

    def forget(self) -> None:
        """Paint the whole page next time."""
        self._size = (0, 0)

    def paint(self, page: Callable[[int, int], RenderableType]) -> None:
        """Paint the page that ``page`` makes for this width and height; only the lines that have changed."""
        width, height = self.size
        now = time.monotonic()
        if (width, height) != self._size or now - self._painted > WHOLE_SECONDS:
            self._lines, self._size, self._painted = [], (width, height), now
        with self._painter.capture() as captured:
            self._painter.print(page(width, height), width=width, no_wrap=True, crop=True)
        lines = captured.get().rstrip("\n").split("\n")[:height]
        text = changes(self._lines, lines)
        with self._lock:
            if self.on and text:
                self._write(f"{BEGIN}{text}{END}")
                self._lines = lines

    def read_keys(self, seconds: float) -> list[str]:
        """The keys that were pressed, after waiting for the first one for at most ``seconds``."""
        if self._keys is None or not self.on:
            time.sleep(seconds)
            return []
        with suppress(OSError, ValueError):
            if select.select([self._keys], [], [], seconds)[0]:
                data = os.read(self._keys, 256)
                if data:
                    return decode_keys(data)
                self._keys = None  # the terminal has been closed
        return []

    def _write(self, text: str) -> None:
        with suppress(OSError, ValueError):  # the terminal may have been closed
            self._out.write(text)
            self._out.flush()


def changes(before: list[str], lines: list[str]) -> str:
    r"""What a terminal must receive to show ``lines`` instead of ``before``; an empty ``before``: all of them.

    >>> changes(["a", "b"], ["a", "c"])
    '\x1b[2;1Hc\x1b[K'
    """
    moved = [f"\x1b[{i + 1};1H{line}\x1b[K" for i, line in enumerate(lines) if i >= len(before) or before[i] != line]
    rest = f"\x1b[{len(lines) + 1};1H\x1b[J" if len(before) > len(lines) else ""
    return "".join(moved) + rest


def can_show_page(console: Console) -> bool:
    """Whether stdout is a terminal that can move the cursor and that this process may use now."""
    if not console.is_terminal or console.is_dumb_terminal:
        return False
    keys = keys_of_terminal()
    return keys is None or is_in_foreground(keys)


def keys_of_terminal() -> int | None:
    """The descriptor of the terminal that stdin is; None if it is none."""
    with suppress(OSError, ValueError, AttributeError):  # in a notebook or a test, stdin has no descriptor
        if os.isatty(sys.stdin.fileno()):
            return sys.stdin.fileno()
    return None


def is_in_foreground(terminal: int) -> bool:
    """Whether this process may read from its terminal; one that the shell runs with `&` may not."""
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
