import os
from types import SimpleNamespace

import pytest
import ray
from ray.tune.experiment import Trial as TuneTrial

from inat.tuning.ray_backend import hang_monitor


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
    watch = hang_monitor.HangMonitor(tmp_path, seconds=1e-9)
    for step in range(3):
        watch.on_step_end(step, [trial(status, "actor")])
    assert killed[0] == "actor"
    assert "did not answer" in (tmp_path / "errors" / "t0000.hang.txt").read_text()


def test_a_process_that_touches_its_file_is_left_alone_until_it_no_longer_does(killed, tmp_path):
    """As one does that builds features for longer than the limit; its clock may be hours behind."""
    watch, file = hang_monitor.HangMonitor(tmp_path, seconds=1e-9), tmp_path / "errors" / "t0000.hang.txt"
    file.parent.mkdir()
    file.touch()
    for step in range(5):
        os.utime(file, (step, step))
        watch.on_step_end(step, [trial(TuneTrial.RUNNING, "actor")])
    assert killed == []
    watch.on_step_end(5, [trial(TuneTrial.RUNNING, "actor")])
    assert killed == ["actor"]


@pytest.mark.parametrize("end", ["on_trial_recover", "on_trial_error"])
def test_a_trial_that_waits_long_for_another_process_is_not_held_to_be_hanging(killed, tmp_path, monkeypatch, end):
    now = 100.0
    monkeypatch.setattr(hang_monitor.time, "monotonic", lambda: now)
    watch, waiting = hang_monitor.HangMonitor(tmp_path, seconds=60.0), trial(TuneTrial.PENDING, None)
    watch.on_trial_start(0, [], waiting)
    getattr(watch, end)(0, [], waiting)
    now = 1000.0
    waiting.temporary_state.ray_actor = "actor"
    watch.on_step_end(0, [waiting])
    assert killed == []
    now = 1061.0
    watch.on_step_end(0, [waiting])
    assert killed == ["actor"]


@pytest.mark.parametrize(
    ("status", "actor", "seconds"),
    [(TuneTrial.PENDING, None, 1e-9), (TuneTrial.TERMINATED, "actor", 1e-9), (TuneTrial.RUNNING, "actor", 60.0),
     (TuneTrial.RUNNING, "actor", None)],
)  # fmt: skip
def test_others_are_left_alone(killed, tmp_path, status, actor, seconds):
    watch = hang_monitor.HangMonitor(tmp_path, seconds)
    for step in range(3):
        watch.on_step_end(step, [trial(status, actor)])
    assert killed == []
