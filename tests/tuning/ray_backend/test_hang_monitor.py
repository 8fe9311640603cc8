import os
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
import ray
from ray.tune.experiment import Trial as TuneTrial

from inat.tuning.ray_backend import hang_monitor
from inat.tuning.ray_backend.hang_monitor import Watchdog, has_hung


@pytest.fixture
def killed(monkeypatch):
    actors: list[str] = []
    monkeypatch.setattr(ray, "kill", actors.append)
    monkeypatch.setattr(hang_monitor, "MARGIN_SECONDS", 0.0)
    return actors


def trial(status: str, actor: str | None) -> SimpleNamespace:
    return SimpleNamespace(trial_id="t0000", status=status, temporary_state=SimpleNamespace(ray_actor=actor))


@pytest.mark.parametrize("status", [TuneTrial.RUNNING, TuneTrial.PENDING])
def test_a_process_that_does_not_answer_is_killed_also_while_it_is_handed_the_next_trial(killed, tmp_path, status):
    monitor = hang_monitor.HangMonitor(tmp_path, seconds=1e-9)
    for step in range(3):
        monitor.on_step_end(step, [trial(status, "actor")])
    assert killed[0] == "actor"
    assert "did not answer" in (tmp_path / "errors" / "t0000.hang.txt").read_text()


def test_a_process_that_touches_its_file_is_left_alone_until_it_no_longer_does(killed, tmp_path):
    """As one does that builds features for longer than the limit; its clock may be hours behind."""
    monitor, file = hang_monitor.HangMonitor(tmp_path, seconds=1e-9), tmp_path / "errors" / "t0000.hang.txt"
    file.parent.mkdir()
    file.touch()
    for step in range(5):
        os.utime(file, (step, step))
        monitor.on_step_end(step, [trial(TuneTrial.RUNNING, "actor")])
    assert killed == []
    monitor.on_step_end(5, [trial(TuneTrial.RUNNING, "actor")])
    assert killed == ["actor"]


@pytest.mark.parametrize("end", ["on_trial_recover", "on_trial_error"])
def test_a_trial_that_waits_long_for_another_process_is_not_held_to_be_hanging(killed, tmp_path, monkeypatch, end):
    now = 100.0
    monkeypatch.setattr(hang_monitor.time, "monotonic", lambda: now)
    monitor, waiting = hang_monitor.HangMonitor(tmp_path, seconds=60.0), trial(TuneTrial.PENDING, None)
    monitor.on_trial_start(0, [], waiting)
    getattr(monitor, end)(0, [], waiting)
    now = 1000.0
    waiting.temporary_state.ray_actor = "actor"
    monitor.on_step_end(0, [waiting])
    assert killed == []
    now = 1061.0
    monitor.on_step_end(0, [waiting])
    assert killed == ["actor"]


@pytest.mark.parametrize(
    ("status", "actor", "seconds"),
    [(TuneTrial.PENDING, None, 1e-9), (TuneTrial.TERMINATED, "actor", 1e-9), (TuneTrial.RUNNING, "actor", 60.0),
     (TuneTrial.RUNNING, "actor", None)],
)  # fmt: skip
def test_others_are_left_alone(killed, tmp_path, status, actor, seconds):
    monitor = hang_monitor.HangMonitor(tmp_path, seconds)
    for step in range(3):
        monitor.on_step_end(step, [trial(status, actor)])
    assert killed == []


@pytest.mark.parametrize(("text", "expected"), [(None, False), ("", False), ("File x, line 3 in train", True)])
def test_a_trial_has_hung_if_its_file_is_not_empty(tmp_path, text, expected):
    path = hang_monitor.hang_file(tmp_path, "t0000")
    path.parent.mkdir()
    if text is not None:
        path.write_text(text)
    assert has_hung(tmp_path, "t0000") == expected


HANG = """
import sys, threading, time
from pathlib import Path
from inat.tuning.ray_backend.hang_monitor import Watchdog
with Watchdog(Path(sys.argv[1]), float(sys.argv[2])) as watchdog:
    for _ in range(4):
        time.sleep(0.2)
        watchdog.heartbeat()
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
def test_heartbeats_keep_the_process_alive_and_the_file_goes_with_the_trial(tmp_path, seconds):
    done = run(tmp_path / "t0001.hang.txt", seconds, "end")
    assert (done.returncode, done.stdout) == (0, "trained\nwent on\n")
    assert not (tmp_path / "t0001.hang.txt").exists()


def test_a_heartbeat_touches_the_empty_file(tmp_path):
    path = tmp_path / "t0001.hang.txt"
    with Watchdog(path, 60.0) as watchdog:
        os.utime(path, (0, 0))
        watchdog.heartbeat()
        assert path.stat().st_mtime > 1e9
        assert path.stat().st_size == 0
