"""Output whose reader may leave: a long command goes on without it, a short one ends without an error."""

import io
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout, suppress
from typing import Any, TextIO

BY_CLOSED_PIPE = 141  # the shell's exit code for a process that SIGPIPE ended, as `cat FILE | head -1` may


@contextmanager
def quiet_about_closed_pipe() -> Iterator[None]:
    """End the process without a word if the reader of stdout, such as `| head`, has read all that it wants."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python closes stdout once more at its end
        sys.exit(BY_CLOSED_PIPE)


@contextmanager
def expendable_output() -> Iterator[None]:
    """Drop what stdout and stderr cannot take any more, instead of raising an error; say once on stderr that it is so.

    Streams without a file descriptor, as in a notebook, stay as they are.
    """
    with ExitStack() as stack:
        stack.enter_context(redirect_stderr(_expendable(sys.stderr, lambda: None)))
        stack.enter_context(redirect_stdout(_expendable(sys.stdout, _announce_loss)))
        yield
        for stream in (sys.stdout, sys.stderr):
            with suppress(ValueError):
                stream.flush()


def _announce_loss() -> None:
    print("nobody reads the output any more; the command goes on without it", file=sys.stderr, flush=True)


class _ExpendableFile(io.FileIO):
    """A file descriptor whose writes count as done, whatever the system says; ``on_loss`` is called at the first."""

    def __init__(self, descriptor: int, on_loss: Any) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self._on_loss = on_loss

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError:
            on_loss, self._on_loss = self._on_loss, lambda: None
            on_loss()
            return len(data)


def _expendable(stream: TextIO, on_loss: Any) -> TextIO:
    try:
        stream.flush()
        descriptor = stream.fileno()
    except (OSError, ValueError, AttributeError):  # no file, or closed
        return stream
    return io.TextIOWrapper(
        io.BufferedWriter(_ExpendableFile(descriptor, on_loss)),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=True,
    )
