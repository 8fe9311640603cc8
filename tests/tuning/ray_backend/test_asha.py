import random
from types import SimpleNamespace

import pytest

from inat.config.objective import OBJECTIVES
from inat.tuning.ray_backend import asha
from inat.tuning.ray_backend.asha import StudyASHA

SETTINGS = {"max_epochs": 9, "grace_period": 1, "reduction_factor": 3}


def arrivals(trials: int = 30, seed: int = 0) -> list[tuple[str, dict]]:
    """Epochs of trials of known quality in a fixed, interleaved order."""
    order = random.Random(seed)
    live = {f"t{i:04d}": (0, order.random()) for i in range(trials)}
    events = []
    while live:
        trial_id = order.choice(list(live)[:4])
        epoch, quality = live.pop(trial_id)
        events.append((trial_id, {"epoch": epoch + 1, "best_val_acc": quality * (epoch + 1) / 9}))
        if epoch + 1 < 9:
            live = {trial_id: (epoch + 1, quality)} | live
    return events


def decide(scheduler: StudyASHA, events: list[tuple[str, dict]]) -> list[tuple[str, int, str]]:
    """The decisions of a live search on these events; a stopped trial reports no more."""
    decisions, seen, stopped = [], set(), set(scheduler.stopped_early)
    for trial_id, row in events:
        trial = SimpleNamespace(trial_id=trial_id)
        if trial_id in stopped:
            continue
        if trial_id not in seen:
            scheduler.on_trial_add(None, trial)
            seen.add(trial_id)
        if "finished" in row:  # Tune does not ask, but tells of the end
            scheduler.on_trial_complete(None, trial, row)
            decisions.append((trial_id, row["epoch"], "DONE"))
            continue
        decision = scheduler.on_trial_result(None, trial, row)
        decisions.append((trial_id, row["epoch"], decision))
        if decision == "STOP":
            stopped.add(trial_id)
            scheduler.on_trial_complete(None, trial, row)
    return decisions


@pytest.mark.parametrize("ends_by_itself", [False, True])
@pytest.mark.parametrize("cut", [0, 1, 17, 60, 100])
def test_a_resumed_search_decides_as_the_uninterrupted_one(cut, ends_by_itself):
    events = arrivals()
    if ends_by_itself:  # every third trial diverges or runs out of patience at epoch 3, right at a rung
        thirds = {f"t{i:04d}" for i in range(0, 30, 3)}
        events = [
            (t, row | ({"finished": "diverged"} if row["epoch"] == 3 else {})) if t in thirds else (t, row)
            for t, row in events
            if t not in thirds or row["epoch"] <= 3
        ]
    whole = decide(StudyASHA(**SETTINGS), events)
    accepted = [(t, r) for t, r in events if (t, r["epoch"]) in {(t, e) for t, e, _ in whole}]

    resumed = StudyASHA(**SETTINGS)
    resumed.replay(accepted[:cut])
    assert decide(resumed, accepted[cut:]) == whole[cut:]
    assert ("DONE" in {decision for _, _, decision in whole}) is ends_by_itself


def test_knows_whom_it_stopped_and_that_reaching_the_end_is_no_stop():
    scheduler = StudyASHA(**SETTINGS)
    decisions = decide(scheduler, arrivals())
    stopped = {t for t, epoch, decision in decisions if decision == "STOP" and epoch < 9}
    finished = {t for t, epoch, decision in decisions if epoch == 9}
    assert stopped
    assert finished
    assert scheduler.stopped_early == stopped


def test_replay_does_not_judge_a_trial_that_ended_by_itself():
    events = [(f"t{i:04d}", {"epoch": 1, "best_val_acc": 0.9}) for i in range(5)]
    last = ("t0009", {"epoch": 1, "best_val_acc": 0.0, "finished": "diverged"})
    scheduler = StudyASHA(**SETTINGS)
    scheduler.replay([*events, last])
    assert scheduler.stopped_early == set()
    scheduler.replay([("t0010", {"epoch": 1, "best_val_acc": 0.0})])
    assert scheduler.stopped_early == {"t0010"}


def test_a_pending_trial_keeps_the_process_that_starts_for_it_but_not_for_ever(monkeypatch):
    now = 0.0
    monkeypatch.setattr(asha.time, "monotonic", lambda: now)
    scheduler = StudyASHA(max_epochs=9, grace_period=3, reduction_factor=3)
    early, late, running = (SimpleNamespace(trial_id=name, status="PENDING") for name in ("early", "late", "running"))
    running.status = "RUNNING"
    live = [running, early]
    controller = SimpleNamespace(get_live_trials=lambda: live)
    assert scheduler.choose_trial_to_run(controller) is None
    now, live = 20.0, [late, running, early]
    assert scheduler.choose_trial_to_run(controller) is None
    now = 31.0
    assert scheduler.choose_trial_to_run(controller) is early
    early.status = "RUNNING"
    assert scheduler.choose_trial_to_run(controller) is None
    now = 51.0
    assert scheduler.choose_trial_to_run(controller) is late


@pytest.mark.parametrize("cut", [0, 17, 60])
def test_a_search_that_minimises_decides_as_its_mirror_image_also_after_a_resume(cut):
    events = arrivals()
    whole = decide(StudyASHA(**SETTINGS), events)
    losses = [(t, {"epoch": row["epoch"], "best_val_loss": 1 - row["best_val_acc"]}) for t, row in events]
    settings = SETTINGS | {"objective": OBJECTIVES["val_loss"]}
    assert decide(StudyASHA(**settings), losses) == whole
    accepted = [(t, r) for t, r in losses if (t, r["epoch"]) in {(t, e) for t, e, _ in whole}]
    resumed = StudyASHA(**settings)
    resumed.replay(accepted[:cut])
    assert resumed.stopped_early == {t for t, _, decision in whole[:cut] if decision == "STOP"} - {
        t for t, epoch, _ in whole[:cut] if epoch == 9
    }
    assert decide(resumed, accepted[cut:]) == whole[cut:]
