"""The time of a search without its pauses, and the end of its time budget."""

import os
import time
from datetime import UTC, datetime

import pytest

from analysis.costs.breaks import BREAK
from analysis.costs.progress import best_over_time
from analysis.study import load_study
from inat.constants import LAST_DIR
from inat.study.study import Study
from inat.tuning.live.study_times import budget_of, seconds_gone
from inat.tuning.live.watch_source import WatchSource
from tests.helpers import change_info

NOW = time.time()
PLAN = {
    "seconds": 480.0, "image_size": 48, "max_epochs": 5, "grace_period": 2, "reduction_factor": 3, "trials": 6,
    "slots": 2, "cores": 1, "search_seconds": 250.0, "last_seconds": 160.0, "last_epochs": 9, "most_epochs": 60,
    "start_seconds": 32.0, "restart_seconds": 12.0, "end_seconds": 16.0, "epoch_seconds": 14.0, "alone_seconds": 12.0,
    "operations": 1000,
}  # fmt: skip


def at(seconds: float) -> str:
    return datetime.fromtimestamp(NOW + seconds, UTC).isoformat()


def begin(study: Study, seconds: float) -> str:
    trial = study.add_trial({"x": 1})
    trial.created = at(seconds)
    return trial.trial_id


def train(study: Study, trial_id: str, epochs: int, seconds: float = 10.0) -> None:
    for _ in range(epochs):
        number = study.trials[trial_id].epochs + 1
        study.add_epoch(trial_id, {"epoch": number, "best_val_acc": 0.5, "val_acc": 0.5, "seconds": seconds})


def written(path, seconds: float) -> None:
    os.utime(path, (NOW + seconds, NOW + seconds))


@pytest.fixture(autouse=True)
def stopped_clock(monkeypatch):
    monkeypatch.setattr(time, "time", lambda: NOW)


@pytest.fixture
def study(tmp_path):
    study = Study.create(tmp_path / "study", {"config": {"num_samples": 3}, "created": at(-110)})
    written(study.directory / "study.json", -105)
    yield study
    study.close()


def gone(study: Study, running: bool) -> float | None:
    return seconds_gone(study.directory, study.trials.values(), running)


def test_a_search_that_never_paused_has_run_since_its_first_trial(study):
    assert gone(study, running=True) is None
    train(study, begin(study, -100), 3)
    written(study.directory / "journal.jsonl", -60)
    assert gone(study, running=True) == pytest.approx(100, abs=1)
    assert gone(study, running=False) == pytest.approx(40, abs=0.1)


def test_pauses_do_not_count(study):
    first = begin(study, -4000)
    train(study, first, 3)  # then it was interrupted, for more than an hour
    written(study.directory / "study.json", -100)  # --resume
    train(study, first, 2)
    train(study, begin(study, -50), 4)
    written(study.directory / "journal.jsonl", -10)
    assert gone(study, running=True) == pytest.approx(50 + 40 + 10, abs=1)
    assert gone(study, running=False) == pytest.approx(90, abs=0.1)


def test_the_time_of_a_copy_is_that_of_the_report(study):
    train(study, begin(study, -BREAK - 2000), 5)
    train(study, begin(study, -BREAK - 1990), 7)
    train(study, begin(study, -700), 3)
    study.close()
    for name in ("study.json", "journal.jsonl"):
        written(study.directory / name, 0)
    (study.directory / "trials.csv").write_text(study_table(study))
    report = best_over_time(load_study(study.directory)).steps["seconds"].iloc[-1]
    assert gone(study, running=False) == pytest.approx(float(report), abs=0.1)
    assert gone(study, running=False) == pytest.approx(80 + 30, abs=0.1)


def study_table(study: Study) -> str:
    study.write_trials()
    return (study.directory / "trials.csv").read_text()


def test_times_that_are_no_times_are_not_shown(study):
    study.trials[begin(study, 0)].created = "yesterday"
    assert gone(study, running=True) is None


def plan(study: Study, **changes) -> None:
    change_info(study.directory, lambda info: info.update(time_plan=PLAN | changes))
    written(study.directory / "study.json", -105)


def budget(study: Study):
    info = WatchSource(study.directory)._info
    return budget_of(study.directory, info, study.trials.values())


def test_a_planned_search_ends_with_its_budget(study):
    plan(study)
    train(study, begin(study, -100), 2)
    found = budget(study)
    assert (found.seconds, found.whole) == (480, True)
    assert found.ends == pytest.approx(NOW - 110 - (32 - 12) + 480, abs=1)


def test_a_resumed_search_has_what_its_epochs_have_left(study):
    plan(study)
    train(study, begin(study, -4000), 4, seconds=20.0)
    written(study.directory / "journal.jsonl", -3900)
    written(study.directory / "study.json", -8)  # --resume; Ray starts
    total = 32 + 250 + 12 + 160 + 16
    assert budget(study).ends == pytest.approx(NOW - 8 + total + 12 - (32 + 80 / 2), abs=1)
    written(study.directory / "journal.jsonl", -2)  # an epoch, which is among the 80 s
    assert budget(study).ends == pytest.approx(NOW - 2 + total - (32 + 80 / 2), abs=1)


def test_a_last_training_ends_before_the_test(study):
    plan(study)
    train(study, begin(study, -100), 2)
    last = Study.create(study.directory / LAST_DIR, {"config": {"num_samples": 1}, "last_of": "t0000"})
    begin(last, 0)
    found = budget(last)
    last.close()
    assert not found.whole
    assert found.ends == pytest.approx(NOW - 110 - (32 - 12) + 480 - 16, abs=1)


def test_the_budget_of_a_search_that_is_not_planned_begins_with_its_first_trial(study):
    change_info(study.directory, lambda info: info["config"].update(time_budget="10m"))
    written(study.directory / "study.json", -105)
    assert budget(study) is None
    train(study, begin(study, -100), 2)
    found = budget(study)
    assert (found.seconds, found.whole) == (600, True)
    assert found.ends == pytest.approx(NOW + 500, abs=1)
    written(study.directory / "study.json", -20)  # --resume begins the budget anew
    assert not budget(study).whole
    assert budget(study).ends == pytest.approx(NOW + 580, abs=1)


@pytest.mark.parametrize("damaged", [{"trials": 3}, "no plan", PLAN | {"epoch_seconds": 0}])
def test_a_damaged_plan_is_no_budget(study, damaged):
    change_info(study.directory, lambda info: info.update(time_plan=damaged))
    train(study, begin(study, -100), 1)
    assert budget(study) is None
