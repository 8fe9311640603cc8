import pickle
from types import SimpleNamespace

import pytest

from inat.errors import StudyError
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


def test_a_study_that_cannot_be_written_stops_everything():
    lifecycle = SimpleNamespace(error=None)
    stop = StopAtWriteError(lifecycle)
    assert not stop.stop_all()
    lifecycle.error = StudyError("cannot be written")
    assert stop.stop_all()


@pytest.mark.parametrize("stopper", [StopOnSignal(print), StopAtWriteError(SimpleNamespace(error=None))])
def test_stoppers_never_stop_a_single_trial_and_stand_in_snapshots_without_their_state(stopper):
    assert not stopper("t0000", {"epoch": 1})
    assert pickle.loads(pickle.dumps(stopper)).__dict__ == {}
