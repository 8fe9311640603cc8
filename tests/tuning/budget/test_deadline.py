"""What a planned search leaves behind when its time is over."""

from dataclasses import replace

import pytest
from ray import tune

from inat.config.search import SearchConfig
from inat.constants import LAST_DIR, TIME_PLAN
from inat.study.study import Study
from inat.tuning import search
from inat.tuning.budget import begin
from inat.tuning.budget import last_training as module
from inat.tuning.budget.clock import Clock
from inat.tuning.budget.last_training import train_last
from inat.tuning.budget.plan import make_plan
from inat.tuning.describe_result import describe_failure
from inat.tuning.describe_search import describe_nothing_left
from inat.tuning.runner import RunResult
from tests.helpers import run_epochs
from tests.tuning.budget.test_plan import facts, size_cost

PLAN = make_plan(facts(), [size_cost()])
CONFIG = SearchConfig(data="digits", image_size=8, max_epochs=PLAN.max_epochs, grace_period=PLAN.grace_period,
                      num_samples=PLAN.trials)  # fmt: skip

SPACE = {"x": tune.choice([1, 2, 3])}


@pytest.fixture
def planned(tmp_path):
    info = {TIME_PLAN: PLAN.to_json(), "config": CONFIG.to_json(), "data": {"fingerprint": "f", "classes": ["a", "b"]},
            "space": {"x": [1, 2, 3]}}  # fmt: skip
    study = Study.create(tmp_path / "planned", info)
    run_epochs(study, study.add_trial({"x": 1}).trial_id, [0.5, 0.6])
    study.add_trial({"x": 2})
    yield study
    study.close()


@pytest.mark.parametrize("begun", [False, True])
def test_no_trial_stays_running_when_the_time_of_the_search_is_over(planned, begun):
    if begun:
        Study.create(planned.directory / LAST_DIR, {"config": {}}).close()
    ends = 1e12 if begun else 0.0
    outcome = search.run(replace(CONFIG, resume=planned.directory), planned, SPACE, clock=Clock(PLAN, ends))
    assert outcome.slots is None
    assert not planned.unfinished()
    assert [(trial.state, trial.error) for trial in planned.ended()] == [
        ("stopped", "stopped after 2 epochs: its time is over"),
        ("failed", "stopped before its first epoch: its time is over"),
    ]


def test_nobody_is_told_to_extend_a_search_whose_time_is_spent(planned):
    planned.end_trial("t0000", "completed")
    planned.end_trial("t0001", "failed", "no")
    before = describe_nothing_left(CONFIG, planned)
    assert "--num-samples 4" in before
    assert "--retry-failed" in before
    Study.create(planned.directory / LAST_DIR, {"config": {}}).close()
    told = describe_nothing_left(CONFIG, planned)
    assert "its time budget is spent; for a longer search, start a new study" in told
    assert "--" not in told + describe_failure(planned)


def test_the_last_training_on_a_gpu_keeps_the_cores_of_the_user(planned, monkeypatch):
    planned.end_trial("t0001", "failed", "no")
    planned.add_epoch("t0000", {"epoch": 3, "best_val_acc": 0.7, "seconds": 0.1})
    planned.end_trial("t0000", "completed")
    used: list[SearchConfig] = []
    monkeypatch.setattr(begin, "has_gpu", lambda: True)
    monkeypatch.setattr(
        module, "run_trials", lambda spec, *_, **__: used.append(spec.config) or RunResult(True, 1, None)
    )
    clock = Clock(PLAN, module.time.monotonic() + PLAN.seconds)
    train_last(replace(CONFIG, cpus_per_trial=3, max_concurrent=4), planned, clock)
    assert (used[0].cpus_per_trial, used[0].gpus_per_trial, used[0].max_concurrent) == (3, 1.0, 1)
