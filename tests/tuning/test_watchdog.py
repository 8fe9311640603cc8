import os
import subprocess
import sys
import time

import pytest

from inat.tuning.watchdog import Watchdog

HANG = """
import sys, threading, time
from pathlib import Path
from inat.tuning.watchdog import Watchdog
with Watchdog(Path(sys.argv[1]), float(sys.argv[2])) as watchdog:
    for _ in range(4):
        time.sleep(0.2)
        watchdog.on_train_epoch_end(None, None)
    print("trained", flush=True)
    if sys.argv[3] == "hang":
        threading.Event().wait()
time.sleep(2.5)
print("went on", flush=True)
"""


def run(path, seconds: float, how: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", HANG, str(path), str(seconds), how]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_a_hanging_trial_ends_its_process_and_leaves_where_it_hung(tmp_path):
    started = time.monotonic()
    done = run(tmp_path / "errors" / "t0001.hang.txt", 2.0, "hang")
    assert (done.returncode, done.stdout) == (1, "trained\n")
    assert time.monotonic() - started < 40
    assert "threading.py" in (tmp_path / "errors" / "t0001.hang.txt").read_text()


@pytest.mark.parametrize("seconds", [2.0])
def test_epochs_keep_it_alive_and_nothing_stays_behind(tmp_path, seconds):
    done = run(tmp_path / "t0001.hang.txt", seconds, "end")
    assert (done.returncode, done.stdout) == (0, "trained\nwent on\n")
    assert not (tmp_path / "t0001.hang.txt").exists()


def test_progress_shows_outside_of_the_process_as_a_touched_empty_file(tmp_path):
    path = tmp_path / "t0001.hang.txt"
    with Watchdog(path, 60.0) as watchdog:
        os.utime(path, (0, 0))
        watchdog.wind_up()
        assert path.stat().st_mtime > 1e9
        assert path.stat().st_size == 0
