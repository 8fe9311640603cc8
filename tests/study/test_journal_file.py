import os

import pytest

from inat.study import journal_file
from tests.helpers import run_epochs


@pytest.fixture
def syncs(monkeypatch) -> list[int]:
    """Descriptors that were synced."""
    seen: list[int] = []
    monkeypatch.setattr(os, "fsync", seen.append)
    return seen


def test_events_wait_for_the_disk_at_most_once_per_second(study, syncs, monkeypatch):
    clock = [100.0]
    monkeypatch.setattr(journal_file.time, "monotonic", lambda: clock[0])
    trial = study.add_trial({"x": 1})
    before = len(syncs)
    for epoch in range(1, 31):
        clock[0] += 0.1
        study.add_epoch(trial.trial_id, {"epoch": epoch, "best_val_acc": 0.1})
    assert len(syncs) - before in (2, 3)


def test_a_slow_disk_is_waited_for_less_often(study, syncs, monkeypatch):
    clock = [100.0]
    monkeypatch.setattr(journal_file.time, "monotonic", lambda: clock[0])

    def slow(descriptor):
        syncs.append(descriptor)
        clock[0] += 0.1

    monkeypatch.setattr(os, "fsync", slow)
    trial = study.add_trial({"x": 1})
    before = len(syncs)
    for epoch in range(1, 41):
        clock[0] += 1.0
        study.add_epoch(trial.trial_id, {"epoch": epoch, "best_val_acc": 0.1})
    assert len(syncs) - before in (3, 4)  # every 10 s: 1 % of the time


def test_the_end_of_a_long_trial_is_on_the_disk_before_its_checkpoints_are_removed(study, syncs, monkeypatch):
    for seconds, synced in ((2.0, 1), (0.1, 0)):
        trial = study.add_trial({"x": seconds})
        run_epochs(study, trial.trial_id, [0.5], seconds=seconds)
        study._journal._sync_cost, study._journal._synced = 0.001, journal_file.time.monotonic() - 0.1
        before = len(syncs)
        study.end_trial(trial.trial_id, "completed")
        assert len(syncs) - before == synced


def test_the_last_lines_are_on_the_disk_when_a_study_is_closed(study, syncs):
    study.add_trial({"x": 1})
    study._journal._synced = float("inf")
    study.add_trial({"x": 2})
    before = len(syncs)
    study.close()
    assert len(syncs) > before
