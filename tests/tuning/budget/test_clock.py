from dataclasses import replace

import pytest

from inat.config.search import SearchConfig
from inat.constants import LAST_DIR, TIME_PLAN
from inat.errors import StudyError
from inat.study.study import Study
from inat.tuning.budget import clock as clock_module
from inat.tuning.budget import rules
from inat.tuning.budget.clock import (
    Clock,
    StopAtDeadline,
    check_not_over,
    epoch_seconds,
    is_over,
    last_has_begun,
    last_is_left,
)
from inat.tuning.budget.plan import make_plan
from tests.helpers import run_epochs
from tests.tuning.budget.test_plan import facts, size_cost

PLAN = make_plan(facts(), [size_cost()])
CONFIG = SearchConfig(time_budget="1800s", num_samples=PLAN.trials)


@pytest.fixture
def now(monkeypatch):
    times = [1000.0]
    monkeypatch.setattr(clock_module.time, "monotonic", lambda: times[0])
    return times


@pytest.fixture
def planned(tmp_path):
    study = Study.create(tmp_path / "planned", {TIME_PLAN: PLAN.to_json(), "config": {}})
    yield study
    study.close()


def train(study: Study, seconds: float, epochs: int = 2) -> None:
    trial = study.add_trial({"x": len(study.trials)})
    for epoch in range(1, epochs + 1):
        study.add_epoch(trial.trial_id, {"epoch": epoch, "best_val_acc": 0.5, "seconds": seconds})
    study.end_trial(trial.trial_id, "completed")


def test_a_study_without_a_plan_has_no_clock(study):
    assert Clock.of(study, CONFIG, 0.0) is None
    assert not last_is_left(None, study)


def test_a_new_study_ends_when_its_time_is_over(planned, now):
    clock = Clock.of(planned, CONFIG, started=980.0)
    assert clock.ends == 980.0 + 1800
    assert clock.last_ends == clock.ends - clock.plan.end_seconds
    assert clock.search_ends == clock.last_ends - clock.plan.last_seconds - clock.plan.restart_seconds
    assert last_is_left(clock, planned)


def test_a_resumed_search_has_the_time_that_it_has_not_used(planned, now):
    train(planned, seconds=50.0)  # 100 s in one of two slots
    resumed = replace(CONFIG, resume=planned.directory)
    clock = Clock.of(planned, resumed, started=0.0)
    plan = clock.plan
    assert clock.ends == pytest.approx(1000 + plan.total - plan.start_seconds + plan.restart_seconds - 50)
    assert Clock.of(planned, replace(resumed, time_budget="2400s"), 0.0).ends == pytest.approx(clock.ends + 600)
    for _ in range(40):
        train(planned, seconds=500.0)
    assert Clock.of(planned, resumed, 0.0).search_ends - 1000 == pytest.approx(clock.plan.restart_seconds, abs=0.01)


def test_a_resumed_last_training_has_the_rest_of_its_own_time(planned, now):
    last = Study.create(planned.directory / LAST_DIR, {"config": {}})
    run_epochs(last, last.add_trial({"x": 1}).trial_id, [0.5])
    last.add_epoch("t0000", {"epoch": 2, "best_val_acc": 0.6, "seconds": 30.0})
    resumed = replace(CONFIG, resume=planned.directory)
    clock = Clock.of(planned, resumed, started=0.0)
    plan = clock.plan
    left = plan.restart_seconds + plan.last_seconds - 30
    assert clock.last_ends - 1000 == pytest.approx(left, abs=0.01)
    assert last_has_begun(planned)
    assert (
        Clock.of(planned, replace(resumed, time_budget="2h"), 0.0).last_ends == clock.last_ends
    )  # it was the search's
    assert last_is_left(clock, planned)
    last.end_trial("t0000", "completed")
    assert not last_is_left(clock, planned)
    last.close()


def test_a_resumed_training_without_a_search_has_the_rest_of_its_time(tmp_path, now):
    plan = make_plan(facts(seconds=200.0), [size_cost(epoch=16.0, alone=10.0)])
    study = Study.create(tmp_path / "alone", {TIME_PLAN: plan.to_json(), "config": {}})
    train(study, seconds=30.0)
    clock = Clock.of(study, replace(CONFIG, resume=study.directory, time_budget="200s"), 0.0)
    assert clock.last_ends - 1000 == pytest.approx(plan.last_seconds - 60 + rules.START_SECONDS, abs=0.01)
    train(study, seconds=1000.0)
    clock = Clock.of(study, replace(CONFIG, resume=study.directory, time_budget="200s"), 0.0)
    assert clock.last_ends - 1000 == pytest.approx(rules.START_SECONDS, abs=0.01)
    study.close()


@pytest.mark.parametrize(
    ("changes", "option"),
    [
        ({"time_budget": "2h"}, "--time-budget 2h"),
        ({"num_samples": PLAN.trials + 1}, f"--num-samples {PLAN.trials + 1}"),
        ({"retry_failed": True}, "--retry-failed"),
    ],
)
def test_a_search_whose_last_training_has_begun_is_not_extended(tmp_path, changes, option):
    study = Study.create(tmp_path / "planned", {TIME_PLAN: PLAN.to_json(), "config": CONFIG.to_json()})
    resumed = replace(CONFIG, resume=study.directory)
    check_not_over(study, replace(resumed, **changes))
    Study.create(study.directory / LAST_DIR, {"config": {}}).close()
    check_not_over(study, resumed)
    with pytest.raises(StudyError, match=rf"has begun, so {option} cannot continue it; start a new study"):
        check_not_over(study, replace(resumed, **changes))
    study.close()


@pytest.mark.parametrize("changes", [{"time_budget": "300s"}, {"num_samples": 2}])
def test_a_training_without_a_search_is_not_extended_once_it_has_a_result(tmp_path, changes):
    plan = make_plan(facts(seconds=200.0), [size_cost(epoch=16.0, alone=10.0)])
    config = SearchConfig(time_budget="200s", num_samples=1)
    study = Study.create(tmp_path / "alone", {TIME_PLAN: plan.to_json(), "config": config.to_json()})
    extended = replace(config, resume=study.directory, **changes)
    check_not_over(study, extended)
    train(study, seconds=30.0)
    assert is_over(study)
    with pytest.raises(StudyError, match=r"the training of .* is over, as its only training has ended, so --"):
        check_not_over(study, extended)
    study.close()


def test_without_a_search_the_only_trial_has_all_the_time(tmp_path, now):
    plan = make_plan(facts(seconds=200.0), [size_cost(epoch=16.0, alone=10.0)])
    clock = Clock(plan, 1200.0)
    assert clock.search_ends == clock.last_ends == 1200.0 - plan.end_seconds


def test_the_deadline_stops_and_so_does_a_search_that_starts_nothing_more(study, now):
    declined = False
    stop = StopAtDeadline(study, 1100.0, declined=lambda: declined)
    assert not stop.stop_all()
    declined = True
    trial = study.add_trial({"x": 1})
    assert not stop.stop_all()  # it is running
    run_epochs(study, trial.trial_id, [0.5])
    study.end_trial(trial.trial_id, "completed")
    assert stop.stop_all()
    assert stop.reason == "no further trial with enough epochs would end within the time of the search"
    late = StopAtDeadline(study, 1100.0)
    now[0] = 1100.0
    assert late.stop_all()
    assert late.reason == "its time is over"


def test_a_search_that_is_late_goes_on_until_it_has_a_result(study, now):
    stop, strict = StopAtDeadline(study, 1000.0, late=True), StopAtDeadline(study, 1000.0)
    assert strict.stop_all()
    assert not stop.stop_all()
    trial = study.add_trial({"x": 1})
    assert not stop.stop_all()
    study.add_epoch(trial.trial_id, {"epoch": 1, "best_val_acc": 0.5})
    assert stop.stop_all()


def test_a_search_whose_trials_all_fail_ends_in_time(study, now):
    study.end_trial(study.add_trial({"x": 1}).trial_id, "failed", "no")
    assert StopAtDeadline(study, 1000.0, late=True).stop_all()


def test_the_seconds_of_an_epoch_are_the_median(study):
    trial = study.add_trial({"x": 1})
    assert epoch_seconds(trial) is None
    for epoch, seconds in enumerate([9.0, 2.0, 3.0], start=1):
        study.add_epoch(trial.trial_id, {"epoch": epoch, "best_val_acc": 0.5, "seconds": seconds})
    assert epoch_seconds(trial) == 3.0


def test_the_photos_of_a_last_training_that_has_begun_stay(tmp_path):
    study = Study.create(tmp_path / "planned", {TIME_PLAN: PLAN.to_json(), "config": CONFIG.to_json()})
    changed = replace(CONFIG, resume=study.directory, refit="train")
    check_not_over(study, changed)
    Study.create(study.directory / LAST_DIR, {"config": {}}).close()
    with pytest.raises(StudyError, match=r"--refit train cannot change .*, as its last training has begun; leave out"):
        check_not_over(study, changed)
    study.close()
    other = Study.create(tmp_path / "other", {"config": SearchConfig().to_json()})
    with pytest.raises(StudyError, match=r"--refit train cannot change .*, as it has no last training; leave out"):
        check_not_over(other, replace(SearchConfig(), resume=other.directory, refit="train"))
    other.close()
