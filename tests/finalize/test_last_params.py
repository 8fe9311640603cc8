import json

import pytest

from inat.constants import TIME_PLAN
from inat.finalize.candidates import collect_candidates
from inat.finalize.messages import describe_task
from inat.finalize.metrics_json import choice_sections
from inat.finalize.options import FinalizeCommand
from inat.finalize.task import Task, plan
from inat.study.study import Study
from tests.finalize.conftest import PARAMS
from tests.finalize.test_planned_epochs import PLAN
from tests.helpers import change_info, run_epochs

REFIT = PARAMS | {"batch_size": 128, "learning_rate": 5e-3}
SENTENCE = (
    "t0001 is trained with batch size 128 and learning rate 0.005 as in the last training; its score in the search is "
    "that of batch size 64 and learning rate 0.003."
)


def planned(directory, written: dict, *, with_plan: bool = True, top: int = 1) -> tuple[Study, Task]:
    if with_plan:
        change_info(directory, lambda info: info.update({TIME_PLAN: PLAN.to_json()}))
    (directory / "best.json").write_text(json.dumps(written))
    study = Study.open(directory)
    return study, plan(FinalizeCommand(study=directory, top=top, seeds=2), study)


@pytest.mark.parametrize(
    "last",
    [
        {"params": PARAMS, "refit": {"epochs": 9, "params": REFIT}},
        {"params": REFIT, "last_training": True},
    ],
)
def test_the_trial_of_the_last_training_has_its_hyperparameters_and_says_so(digits_study, tmp_path, last):
    study, task = planned(digits_study, {"trial_id": "t0001"} | last)
    assert [params["batch_size"] for params in task.wanted] == [128, 128]
    assert task.configs[0].to_params()["learning_rate"] == 5e-3
    runs = Study.create(tmp_path / "runs", {"config": {}})
    run_epochs(runs, runs.add_trial(task.wanted[0]).trial_id, [0.9, 0.95])
    assert SENTENCE in describe_task(task, runs)
    candidates = collect_candidates(runs, task.trials, 1)
    words = choice_sections(task, candidates, candidates[0], candidates[0].runs[0])["winner"]["in_words"]
    study.close()
    runs.close()
    assert SENTENCE in words


def test_runs_with_the_hyperparameters_of_the_search_are_not_mixed_in(digits_study, tmp_path):
    study, task = planned(digits_study, {"trial_id": "t0001", "refit": {"epochs": 9, "params": REFIT}})
    runs = Study.create(tmp_path / "runs", {"config": {}})
    old = runs.add_trial(PARAMS | {"seed": 1}).trial_id
    run_epochs(runs, old, [0.9, 0.95])
    runs.end_trial(old, "completed")
    assert collect_candidates(runs, task.trials, 2)[0].runs == ()
    text = describe_task(task, runs)
    study.close()
    runs.close()
    assert "already ended" not in text
    assert "1 earlier run with those of the search is not used\n" in text


@pytest.mark.parametrize(
    ("written", "with_plan"),
    [
        ({"trial_id": "t0001", "params": PARAMS}, True),
        ({"trial_id": "t0001", "refit": {"epochs": 9}}, True),
        ({"trial_id": "t0001", "refit": {"epochs": 9, "params": REFIT | {"data": "/elsewhere"}}}, True),
        ({"trial_id": "t0099", "refit": {"epochs": 9, "params": REFIT}}, True),
        ({"trial_id": "t0001", "refit": {"epochs": 9, "params": REFIT}}, False),
    ],
)
def test_other_studies_are_trained_with_the_hyperparameters_of_the_search(digits_study, written, with_plan):
    study, task = planned(digits_study, written, with_plan=with_plan)
    study.close()
    assert task.trials[0].params == PARAMS


def test_a_trial_that_has_the_hyperparameters_of_the_last_training_is_trained_once(digits_study):
    mish = PARAMS | {"activation": "mish"}
    study, task = planned(digits_study, {"trial_id": "t0001", "refit": {"epochs": 9, "params": mish}}, top=2)
    study.close()
    assert [(trial.trial_id, trial.params) for trial in task.trials] == [("t0001", mish)]
