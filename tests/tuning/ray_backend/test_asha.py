import pickle
import random
from types import SimpleNamespace

import pytest

from inat.config.objective import OBJECTIVES
from inat.study.folds import as_trial_row, ends_fold
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


FOLDS = SETTINGS | {"trainings": 3}  # rungs at epochs 1 and 3 of the first fold, and at the end of the first two


def folded_arrivals(trials: int = 40, seed: int = 0) -> list[tuple[str, dict]]:
    """Epochs of trials with three folds; in each fold, patience may end the training."""
    order = random.Random(seed)
    waiting = {}
    for number in range(trials):
        rows: list[dict] = []
        for fold in (1, 2, 3):
            quality, last, before = order.random(), order.choice((2, 4, 9)), list(rows)
            for epoch in range(1, last + 1):
                row = {"epoch": epoch, "best_val_acc": quality * (1 + epoch) / 10}
                rows.append(as_trial_row(row, fold, before, ends=epoch == last))
        rows[-1]["finished"] = "patience"
        waiting[f"t{number:04d}"] = rows
    events = []
    while waiting:
        trial_id = order.choice(list(waiting)[:4])
        events.append((trial_id, waiting[trial_id].pop(0)))
        waiting = {key: rows for key, rows in waiting.items() if rows}
    return events


@pytest.mark.parametrize("cut", [0, 5, 40, 90, 150])
def test_a_resumed_search_with_folds_decides_as_the_uninterrupted_one(cut):
    events = folded_arrivals()
    whole = decide(StudyASHA(**FOLDS), events)
    accepted = [(t, r) for t, r in events if (t, r["epoch"]) in {(t, e) for t, e, _ in whole}]
    resumed = StudyASHA(**FOLDS)
    resumed.replay(accepted[:cut])
    assert decide(resumed, accepted[cut:]) == whole[cut:]
    rows = {(t, r["epoch"]): r for t, r in events}
    stops = [rows[t, e] for t, e, decision in whole if decision == "STOP"]
    assert {row["folds_done"] for row in stops} == {0, 1, 2}
    assert all(row["epoch"] in (1, 3) if not row["folds_done"] else ends_fold(row) for row in stops)


def test_a_search_with_folds_that_minimises_decides_as_its_mirror_image():
    events = folded_arrivals()
    losses = [(t, row | {"best_val_loss": 1 - row["best_val_acc"]}) for t, row in events]
    settings = FOLDS | {"objective": OBJECTIVES["val_loss"]}
    assert decide(StudyASHA(**settings), losses) == decide(StudyASHA(**FOLDS), events)


def folded(value: float, fold: int, *, ends: bool, epoch: int) -> dict:
    return {"epoch": epoch, "best_val_acc": value, "fold": fold, "fold_best": value,
            "folds_done": fold if ends else fold - 1}  # fmt: skip


def test_means_are_compared_with_means_over_as_many_folds():
    scheduler = StudyASHA(**FOLDS)
    # Two folds of the first three trials; their means have fallen with the second fold.
    early = [(f"t{i}", folded(0.9, 1, ends=True, epoch=2)) for i in range(3)]
    early += [(f"t{i}", folded(0.5, 2, ends=True, epoch=4)) for i in range(3)]
    assert {decision for *_, decision in decide(scheduler, early)} == {"CONTINUE"}
    # 0.6 is below what the others had after one fold, and above their means over two.
    assert decide(scheduler, [("t8", folded(0.6, 1, ends=True, epoch=2))]) == [("t8", 2, "STOP")]
    late = [("t9", folded(0.95, 1, ends=True, epoch=2)), ("t9", folded(0.6, 2, ends=True, epoch=4))]
    assert [decision for *_, decision in decide(scheduler, late)] == ["CONTINUE", "CONTINUE"]
    assert scheduler.stopped_early == {"t8"}


def test_a_trial_is_not_judged_inside_a_later_fold_nor_at_a_rung_that_it_jumped_over():
    scheduler = StudyASHA(**FOLDS)
    decide(scheduler, [(f"t{i}", row) for i in range(5) for row in (
        folded(0.9, 1, ends=False, epoch=1), folded(0.9, 1, ends=False, epoch=3))])  # fmt: skip
    # Its only epoch is the end of its first fold: it is never compared at the rungs of epochs 1 and 3.
    rows = [
        folded(0.1, 1, ends=True, epoch=1),
        folded(0.1, 2, ends=False, epoch=2),
        folded(0.1, 2, ends=False, epoch=3),
    ]
    assert [decision for *_, decision in decide(scheduler, [("t9", row) for row in rows])] == ["CONTINUE"] * 3


def test_the_last_fold_is_the_end_and_no_stop():
    scheduler = StudyASHA(**FOLDS)
    decide(scheduler, [("t1", folded(0.5, 3, ends=True, epoch=20))])
    assert scheduler.stopped_early == set()


def test_tune_may_write_the_scheduler_of_a_study_into_its_snapshots(study):
    # The study, which knows the control trials, holds locks and open files.
    scheduler = asha.asha_for(study, **SETTINGS)
    assert pickle.loads(pickle.dumps(scheduler)).__dict__ == {}


@pytest.mark.parametrize("trainings", [1, 5])
def test_a_trial_that_the_user_ends_stops_at_its_next_report(trainings):
    scheduler = StudyASHA(**SETTINGS, trainings=trainings)
    trial, other = SimpleNamespace(trial_id="t0000"), SimpleNamespace(trial_id="t0001")
    fold = {} if trainings == 1 else {"fold": 1, "folds_done": 0}
    for each in (trial, other):
        scheduler.on_trial_add(None, each)
        assert scheduler.on_trial_result(None, each, {"epoch": 1, "best_val_acc": 0.5} | fold) == "CONTINUE"
    scheduler.end_trial("t0000")
    assert scheduler.on_trial_result(None, other, {"epoch": 2, "best_val_acc": 0.5} | fold) == "CONTINUE"
    assert scheduler.on_trial_result(None, trial, {"epoch": 2, "best_val_acc": 0.9} | fold) == "STOP"
    assert scheduler.ended_by_user == scheduler.stopped_early == {"t0000"}


def test_a_trial_at_its_last_epoch_ends_by_itself_whatever_the_user_wants():
    scheduler, trial = StudyASHA(**SETTINGS), SimpleNamespace(trial_id="t0000")
    scheduler.on_trial_add(None, trial)
    scheduler.end_trial("t0000")
    assert scheduler.on_trial_result(None, trial, {"epoch": 9, "best_val_acc": 0.5}) == "STOP"
    assert not scheduler.ended_by_user | scheduler.stopped_early
    pickle.dumps(scheduler)


def test_trials_are_compared_at_equal_cost():
    costs = {"a": 1.0, "b": 1.0, "c": 0.5, "d": 3.0}
    scheduler = StudyASHA(max_epochs=9, grace_period=3, reduction_factor=3, epoch_cost=costs.__getitem__)
    good = [("a", {"epoch": 3, "best_val_acc": 0.5}), ("b", {"epoch": 3, "best_val_acc": 0.4})]
    small = [("c", {"epoch": epoch, "best_val_acc": 0.1}) for epoch in range(1, 7)]
    large = [("d", {"epoch": 1, "best_val_acc": 0.6}), ("d", {"epoch": 2, "best_val_acc": 0.6})]
    decisions = decide(scheduler, [*good, *small, *large])
    assert decisions[1] == ("b", 3, "STOP")
    assert [(epoch, decision) for trial, epoch, decision in decisions if trial == "c"] == [
        *((epoch, "CONTINUE") for epoch in range(1, 6)), (6, "STOP"),
    ]  # fmt: skip
    assert ("d", 1, "CONTINUE") in decisions  # its first epoch is at the rung already, and the best there
    assert scheduler.stopped_early == {"b", "c"}


def test_a_trial_that_has_its_whole_cost_is_not_stopped_early():
    scheduler = StudyASHA(max_epochs=9, grace_period=9, reduction_factor=3, epoch_cost=lambda trial_id: 2.0)
    rows = [("a", {"epoch": epoch, "best_val_acc": 0.1}) for epoch in range(1, 5)]
    assert [decision for *_, decision in decide(scheduler, rows)] == ["CONTINUE"] * 3 + ["STOP"]
    assert scheduler.stopped_early == set()
