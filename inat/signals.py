"""The signals that end a command: Ctrl-C, SIGTERM of a batch system, and SIGHUP of a terminal that was closed."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any


def ending_signals() -> tuple[signal.Signals, ...]:
    """Return the signals that end a command; under `nohup`, SIGHUP is ignored and stays so."""
    ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return (signal.SIGINT, signal.SIGTERM, *(() if ignored else (signal.SIGHUP,)))


@contextmanager
def as_keyboard_interrupt() -> Iterator[None]:
    """Raise KeyboardInterrupt at the first signal, so that `finally` cleans up; a second signal ends the process.

    Does nothing outside of the main thread, where Python allows no handlers.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous: dict[int, Any] = {}

    def interrupt(number: int, frame: FrameType | None) -> None:
        for known in previous:
            signal.signal(known, lambda number, frame: end_process(128 + number))
        raise KeyboardInterrupt

    previous |= {number: signal.signal(number, interrupt) for number in ending_signals()}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextmanager
def interruptible_training() -> Iterator[None]:
    """Raise KeyboardInterrupt if Ctrl-C ended a Lightning trainer in this process.

    Lightning itself exits with code 1, without a word, and ignores further signals (trainer/call.py of 2.6).
    """
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as error:
        if isinstance(error.__context__, KeyboardInterrupt):
            signal.signal(signal.SIGINT, handler)
            raise KeyboardInterrupt from None
        raise


_before_end: list[Callable[[], object]] = []


@contextmanager
def before_end(restore: Callable[[], object]) -> Iterator[None]:
    """Have ``restore`` called if the process is ended without clean-up, as by a second Ctrl-C."""
    _before_end.append(restore)
    try:
        yield
    finally:
        with suppress(ValueError):
            _before_end.remove(restore)


def run_before_end() -> None:
    """Call what ``before_end`` was given, the latest first."""
    while _before_end:
        with suppress(Exception):
            _before_end.pop()()


def end_process(code: int) -> None:
    """End this process at once, without any clean-up but that of the terminal.

    A shell gives the code 128 + N for signal N.
    """
    run_before_end()
    os._exit(code)
