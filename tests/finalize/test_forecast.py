import pytest

from inat.finalize import forecast
from inat.finalize.forecast import describe_forecast
from inat.finalize.options import FinalizeCommand
from inat.finalize.task import plan
from inat.study.study import Study
from tests.helpers import run_epochs


@pytest.fixture
def two_cores(monkeypatch):
    monkeypatch.setattr(forecast, "usable_cores", lambda: 2)
    monkeypatch.setattr(forecast, "gpu_count", lambda: 0)
    monkeypatch.setattr(forecast, "usable_memory", lambda: 64e9)


def told(directory, runs: Study, seconds: float | None, **options) -> str:
    study = Study.open(directory)
    for trial in study.trials.values() if seconds else ():
        for row in trial.history:
            row["seconds"] = seconds
    text = describe_forecast(plan(FinalizeCommand(study=directory, **options), study), runs)
    study.close()
    return text


@pytest.fixture
def runs(tmp_path):
    study = Study.create(tmp_path / "runs", {"config": {}})
    yield study
    study.close()


def test_the_time_is_that_of_the_recorded_epochs_with_as_many_runs_at_a_time_as_fit(digits_study, runs, two_cores):
    assert told(digits_study, runs, 20.0, top=1, seeds=3) == (  # 3 epochs of 20 s, twice one after the other
        "time    about 2 min 0 s for 3 trainings, 2 at a time, from the recorded seconds per epoch; "
        "--top 1 --seeds 2 takes less"
    )


def test_the_shortest_call_names_no_shorter_one_and_ship_adds_a_training(digits_study, runs, two_cores):
    assert told(digits_study, runs, 20.0, top=1, seeds=2, ship=True) == (
        "time    about 2 min 0 s for 2 trainings, with that of --ship, 2 at a time, from the recorded seconds per epoch"
    )


def test_runs_that_have_ended_take_no_time(digits_study, runs, two_cores):
    study = Study.open(digits_study)
    wanted = plan(FinalizeCommand(study=digits_study, top=1, seeds=2), study).wanted
    study.close()
    for params in wanted:
        run = runs.add_trial(params).trial_id
        run_epochs(runs, run, [0.5], seconds=7.0)
        runs.end_trial(run, "completed")
    assert told(digits_study, runs, 20.0, top=1, seeds=2) == ""
    assert "about 21 s for 1 training, 1 at a time" in told(digits_study, runs, 20.0, top=1, seeds=3)


def test_without_recorded_times_there_is_no_forecast(digits_study, runs, two_cores):
    assert told(digits_study, runs, None, top=1, seeds=2) == ""
