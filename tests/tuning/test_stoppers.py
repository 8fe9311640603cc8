import os
import pickle
import signal
import subprocess
import sys
import time
from contextlib import closing
from types import SimpleNamespace

import pytest

from inat.errors import StudyError
from inat.study.study import Study
from inat.tuning import stoppers
from inat.tuning.stoppers import StopAtLimits, StopAtWriteError, StopOnSignal
from tests.helpers import run_epochs


def test_without_limits_nothing_stops(study):
    stop = StopAtLimits(study, None, None)
    trial = study.add_trial({"x": 1})
    run_epochs(study, trial.trial_id, [1.0])
    stop.on_trial_update(trial)
    assert not stop.stop_all()
    assert stop.reason == ""


def test_the_time_budget_stops_everything(study, monkeypatch):
    now = 100.0
    monkeypatch.setattr(stoppers.time, "monotonic", lambda: now)
    stop = StopAtLimits(study, 60, None)
    now = 159.9
    assert not stop.stop_all()
    now = 160.0
    assert stop.stop_all()
    assert stop.reason == "the time budget of 60 s is used up"


@pytest.mark.parametrize("ended_before", [True, False])
def test_the_target_accuracy_stops_everything(study, ended_before):
    reached, behind = study.add_trial({"x": 1}), study.add_trial({"x": 2})
    stop = StopAtLimits(study, None, 0.9)
    run_epochs(study, reached.trial_id, [0.5, 0.95])
    run_epochs(study, behind.trial_id, [0.6])
    if ended_before:
        study.end_trial(reached.trial_id, "completed")
        stop = StopAtLimits(study, None, 0.9)  # a resumed search
    for trial in (behind, reached):
        stop.on_trial_update(trial)
    assert stop.stop_all()
    assert stop.reason == "t0000 reached the target accuracy of 0.9"
    assert [stop.reached_target(trial) for trial in (reached, behind)] == [True, False]


def test_a_loss_reaches_its_target_from_above(tmp_path):
    study = Study.create(tmp_path / "study", {"config": {"metric": "val_loss"}})
    reached, behind, silent = (study.add_trial({"x": x}) for x in range(3))
    run_epochs(study, reached.trial_id, [0.5, 0.3])
    run_epochs(study, behind.trial_id, [0.5])
    stop = StopAtLimits(study, None, 0.3)
    assert [stop.reached_target(trial) for trial in (reached, behind, silent)] == [True, False, False]
    stop.on_trial_update(reached)
    assert stop.reason == "t0000 reached the target loss of 0.3"


def test_a_study_that_cannot_be_written_stops_everything():
    lifecycle = SimpleNamespace(error=None)
    stop = StopAtWriteError(lifecycle)
    assert not stop.stop_all()
    lifecycle.error = StudyError("cannot be written")
    assert stop.stop_all()


# The main thread waits for a lock of C that it has itself: no handler of Python can run there.
HANGING = """
import ctypes, os, signal, sys, threading, time
from inat.tuning import stoppers
stoppers.FORCED_EXIT_SECONDS = float(sys.argv[1])

def send():
    for name in sys.argv[2:]:
        os.kill(os.getpid(), getattr(signal, name))
        time.sleep(0.2)

with stoppers.StopOnSignal(lambda cause: print("everything is kept", flush=True)):
    mutex = ctypes.create_string_buffer(64)
    libc = ctypes.CDLL(None)
    libc.pthread_mutex_lock(mutex)
    threading.Thread(target=send, daemon=True).start()
    libc.pthread_mutex_lock(mutex)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the C library of Linux")
@pytest.mark.usefixtures("hangup_by_default")
@pytest.mark.parametrize(
    ("seconds", "signals", "code"),
    [("60", ["SIGINT", "SIGINT"], 130), ("60", ["SIGHUP", "SIGTERM"], 143), ("0.1", ["SIGTERM"], 143)],
    ids=["second Ctrl-C", "two signals", "time-out"],
)
def test_a_search_that_hangs_in_a_library_still_ends(seconds, signals, code):
    command = [sys.executable, "-c", HANGING, seconds, *signals]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)
    assert (done.returncode, done.stdout) == (code, "everything is kept\n")
    assert done.stderr == "\nstopping; a second signal ends the search at once\n"


@pytest.mark.usefixtures("hangup_by_default")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_stops_the_search_and_raises_nothing(number, capsys):
    before = signal.getsignal(number), signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(before[1])
    with StopOnSignal(print) as stop:
        assert not stop.stop_all()
        signal.signal(number, signal.SIG_DFL)  # as ray.init does
        stop.rearm()
        os.kill(os.getpid(), number)
        deadline = time.monotonic() + 10
        while not stop.stop_all() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert stop.stop_all()
    assert signal.getsignal(number) is before[0]
    assert signal.set_wakeup_fd(before[1]) == before[1]


@pytest.mark.parametrize("stopper", [StopOnSignal(print), StopAtWriteError(SimpleNamespace(error=None))])
def test_stoppers_never_stop_a_single_trial_and_stand_in_snapshots_without_their_state(stopper):
    assert not stopper("t0000", {"epoch": 1})
    assert pickle.loads(pickle.dumps(stopper)).__dict__ == {}


def test_a_request_stops_the_search_once_and_is_no_second_signal(capsys, monkeypatch):
    monkeypatch.setattr(stoppers, "FORCED_EXIT_SECONDS", 600)
    with StopOnSignal(lambda cause: None) as stop:
        stop.request()
        stop.request()
        assert stop.stop_all()
    assert capsys.readouterr().err.count("stopping; a second signal ends the search at once") == 1


def test_with_folds_the_target_is_a_mean_over_all_of_them(study):
    stop = StopAtLimits(study, None, 0.9, trainings=2)
    trial = study.add_trial({"x": 1})
    row = {"best_val_acc": 0.95, "fold_best": 0.95}
    study.add_epoch(trial.trial_id, row | {"epoch": 1, "fold": 1, "folds_done": 1})
    assert not stop.reached_target(trial)
    study.add_epoch(trial.trial_id, row | {"epoch": 2, "fold": 2, "folds_done": 2})
    assert stop.reached_target(trial)


def test_with_folds_a_target_loss_is_a_mean_that_is_low_enough(tmp_path):
    with closing(Study.create(tmp_path / "study", {"config": {"metric": "val_loss"}})) as study:
        stop = StopAtLimits(study, None, 0.5, trainings=2)
        for number, mean in enumerate((0.6, 0.5)):
            trial = study.add_trial({"x": number})
            row = {"best_val_loss": 0.1, "fold_best": 0.1, "epoch": 1, "fold": 1, "folds_done": 1}
            study.add_epoch(trial.trial_id, row)
            assert not stop.reached_target(trial)
            row |= {"best_val_loss": mean, "fold_best": 2 * mean - 0.1, "epoch": 2, "fold": 2, "folds_done": 2}
            study.add_epoch(trial.trial_id, row)
            assert stop.reached_target(trial) == (mean == 0.5)
