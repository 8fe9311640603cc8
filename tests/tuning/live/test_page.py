"""The page in a real terminal: keys, Ctrl-Z, crashes and forced ends."""

import os
import pty
import select
import signal
import sys
import termios
import time
from pathlib import Path

import pytest

from inat.tuning.live.screen import ENTER, LEAVE
from tests.paths import ROOT

PROGRAM = Path(__file__).parent / "page_in_terminal.py"
SECONDS = 60


class Terminal:
    """A program in a terminal of its own."""

    def __init__(self, mode: str) -> None:
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.environ |= {"PYTHONPATH": str(ROOT), "TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24"}
            os.execv(sys.executable, [sys.executable, str(PROGRAM), mode])
        self.text = ""

    def wait_for(self, text: str, times: int = 1) -> None:
        until = time.monotonic() + SECONDS
        while self.text.count(text) < times and time.monotonic() < until and self.read():
            pass
        assert self.text.count(text) >= times, self.text

    def read(self) -> bool:
        try:
            if select.select([self.fd], [], [], 1)[0]:
                self.text += os.read(self.fd, 65536).decode()
        except OSError:  # the program has ended
            return False
        return True

    def send(self, keys: bytes) -> None:
        os.write(self.fd, keys)

    @property
    def is_plain(self) -> bool:
        flags = termios.tcgetattr(self.fd)[3]
        return bool(flags & termios.ECHO) and bool(flags & termios.ICANON)

    def end(self) -> int:
        until = time.monotonic() + SECONDS
        while self.read() and time.monotonic() < until:
            pass
        assert not self.read(), self.text
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


@pytest.fixture
def start():
    started = []

    def begin(mode: str) -> Terminal:
        started.append(Terminal(mode))
        return started[-1]

    yield begin
    for terminal in started:
        try:
            os.kill(terminal.pid, signal.SIGKILL)
            os.waitpid(terminal.pid, 0)
        except (ProcessLookupError, ChildProcessError):
            pass
        os.close(terminal.fd)


def test_keys_reach_the_program_and_ctrl_z_gives_the_terminal_back_for_a_while(start):
    terminal = start("keys")
    terminal.wait_for("t0000")
    assert not terminal.is_plain
    terminal.send(b"k")
    terminal.wait_for("after its current epoch?")
    terminal.send(b"y")
    terminal.wait_for("told to end")  # the terminal drops keys that are not read before Ctrl-Z
    terminal.send(b"\x1a")
    terminal.wait_for(LEAVE)
    assert os.WIFSTOPPED(os.waitpid(terminal.pid, os.WUNTRACED)[1])
    assert terminal.is_plain
    os.kill(terminal.pid, signal.SIGCONT)
    terminal.wait_for(ENTER, times=2)
    terminal.send(b"q")
    assert terminal.end() == 0
    after = terminal.text.rpartition(LEAVE)[2]
    assert after.split("\r\n") == ["printed meanwhile", "told to end", "told to quit", "the program ends", ""]


@pytest.mark.parametrize(
    ("mode", "code", "last"),
    [
        ("crash", 1, "RuntimeError: a bug"),
        ("forced end", 7, "printed meanwhile"),
        ("broken page", 0, "the program ends"),
    ],
)
def test_the_terminal_is_given_back_however_the_page_ends(start, mode, code, last):
    terminal = start(mode)
    assert terminal.end() == code
    assert terminal.text.count(ENTER) == terminal.text.count(LEAVE) == 1
    after = terminal.text.rpartition(LEAVE)[2]
    assert after.startswith("printed meanwhile\r\n")
    assert after.rstrip().endswith(last)
    assert ("the live page has ended (ValueError: no page)" in after) == (mode == "broken page")
