import os
import signal
import subprocess
import sys
import threading

import pytest

from inat import signals
from inat.signals import as_keyboard_interrupt, before_end, end_process, ending_signals

SCRIPT = """
import os, signal, sys
from inat.signals import as_keyboard_interrupt
try:
    with as_keyboard_interrupt():
        os.kill(os.getpid(), getattr(signal, sys.argv[1]))
        signal.pause()
except KeyboardInterrupt:
    print("cleaned up")
"""
TWICE = """
import os, signal, time
from inat.signals import as_keyboard_interrupt
with as_keyboard_interrupt():
    try:
        os.kill(os.getpid(), signal.SIGINT)
        signal.pause()
    finally:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(60)
"""


@pytest.mark.usefixtures("hangup_by_default")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_each_signal_lets_finally_clean_up(number):
    before = signal.getsignal(number)
    interrupted = False
    try:
        with as_keyboard_interrupt():
            os.kill(os.getpid(), number)
            signal.pause()
    except KeyboardInterrupt:
        interrupted = True
    assert interrupted
    assert signal.getsignal(number) is before


def test_nohup_still_protects_from_a_closed_terminal():
    command = ["nohup", sys.executable, "-c", SCRIPT.replace("signal.pause()", "print('goes on')"), "SIGHUP"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout) == (0, "goes on\n")


def test_a_second_signal_ends_the_process_in_the_middle_of_a_clean_up():
    done = subprocess.run([sys.executable, "-c", TWICE], timeout=30, check=False)
    assert done.returncode == 130


def test_another_thread_may_run_a_command():
    raised = []

    def run():
        try:
            with as_keyboard_interrupt():
                pass
        except ValueError as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert raised == []


@pytest.mark.usefixtures("hangup_by_default")
def test_a_closed_terminal_counts_unless_it_is_ignored():
    assert signal.SIGHUP in ending_signals()
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert ending_signals() == (signal.SIGINT, signal.SIGTERM)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_the_terminal_is_mended_before_the_process_ends(monkeypatch):
    calls = []
    monkeypatch.setattr(signals.os, "_exit", lambda code: calls.append(code))
    with (
        before_end(lambda: calls.append("outer")),
        before_end(lambda: 1 / 0),
        before_end(lambda: calls.append("inner")),
    ):
        end_process(3)
    assert calls == ["inner", "outer", 3]
    with before_end(lambda: calls.append("left")):
        pass
    end_process(4)
    assert calls[3:] == [4]
