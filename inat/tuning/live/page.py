"""The live page: paints snapshots, reacts to keys, and gives the terminal back, also after Ctrl-Z and a forced end."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Any, Self, TextIO

from inat.signals import before_end
from inat.tuning.live.keys import Action, ViewState, press
from inat.tuning.live.layout import render
from inat.tuning.live.printed import LineWriter, Printed
from inat.tuning.live.screen import Screen
from inat.tuning.live.snapshot import Snapshot

PAINT_SECONDS = 1.0  # between two pages
KEY_SECONDS = 0.25  # between two looks at the size of the terminal


class LivePage:
    """Context manager that shows ``source()`` on ``screen`` and calls ``act`` with what the user wants.

    What the program prints meanwhile is part of the page (``Snapshot.messages``, which ``source`` takes from
    ``printed``), and is printed again once the terminal is given back.
    """

    def __init__(
        self,
        screen: Screen,
        source: Callable[[], Snapshot],
        act: Callable[[Action], str | None],
        printed: Printed,
    ) -> None:
        self._screen, self._source, self._act = screen, source, act
        self.printed = printed
        self.state = ViewState()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._streams: tuple[TextIO, TextIO] | None = None
        self._suspend: Any = None
        self._next_paint = 0.0
        self._size = (0, 0)

    def __enter__(self) -> Self:
        self._streams = (sys.stdout, sys.stderr)
        sys.stdout, sys.stderr = (LineWriter(self.printed.add, stream) for stream in self._streams)
        if threading.current_thread() is threading.main_thread():
            self._suspend = signal.signal(signal.SIGTSTP, self._on_suspend)
        self._registered = before_end(self.restore)
        self._registered.__enter__()
        self._screen.enter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join(timeout=2 * PAINT_SECONDS)
        if self._suspend is not None:
            signal.signal(signal.SIGTSTP, self._suspend)
        self.restore()
        self._registered.__exit__(None, None, None)

    @property
    def shown(self) -> bool:
        """Whether the page takes what is printed."""
        return self._streams is not None

    def restore(self) -> None:
        """Give the terminal and the streams back, and print what was printed meanwhile."""
        self._ended.set()
        self._screen.leave(hold=True)
        streams, self._streams = self._streams, None
        if streams is None:
            return
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, LineWriter):
                stream.finish()
        sys.stdout, sys.stderr = streams
        with suppress(OSError, ValueError):
            print("".join(f"{line}\n" for line in self.printed.take()), end="", flush=True)

    def start(self) -> None:
        """Show the page in a thread, until the context ends."""
        self._thread = threading.Thread(target=self._run_in_thread, name=type(self).__name__, daemon=True)
        self._thread.start()

    def _run_in_thread(self) -> None:
        try:
            self.run()
        except Exception as error:  # the search goes on without its page
            self.restore()
            print(f"the live page has ended ({type(error).__name__}: {error}); the search goes on", file=sys.stderr)

    def run(self) -> None:
        """Show the page until ``act`` returns "leave" or the context ends."""
        while not self._ended.is_set() and self._step():
            pass

    def _step(self) -> bool:
        """Paint if it is time to, and wait for keys for a moment; False once the user has left the page."""
        if not self._screen.in_foreground():
            self._screen.leave()
            time.sleep(KEY_SECONDS)
            return True
        self._screen.enter()  # again, after the background
        now = time.monotonic()
        if now >= self._next_paint or self._screen.size != self._size:
            self._paint(self._source())
            self._next_paint = now + PAINT_SECONDS
        for key in self._screen.read_keys(KEY_SECONDS):
            snapshot = self._source()
            self.state, action = press(self.state, key, snapshot)
            if action is not None and not self._do(action):
                return False
            self._next_paint = 0.0
        return True

    def _paint(self, snapshot: Snapshot) -> None:
        self._size = self._screen.size
        plain = self._screen.ascii_only
        self._screen.paint(lambda width, height: render(snapshot, self.state, width, height, ascii_only=plain))

    def _do(self, action: Action) -> bool:
        if action.kind == "redraw":
            self._screen.forget()
            return True
        return self._act(action) != "leave"

    def _on_suspend(self, number: int, frame: FrameType | None) -> None:
        """Ctrl-Z: give the terminal back before stopping; the thread takes it again in the foreground."""
        self._screen.leave(hold=True)
        os.kill(os.getpid(), signal.SIGSTOP)
        self._screen.release()
