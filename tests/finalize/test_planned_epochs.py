import json

import pytest

from inat.config.search import SearchConfig
from inat.constants import TIME_PLAN
from inat.errors import StudyError
from inat.finalize.candidates import collect_candidates
from inat.finalize.messages import describe_task
from inat.finalize.metrics_json import choice_sections
from inat.finalize.options import FinalizeCommand, retraining_config
from inat.finalize.task import plan
from inat.study.study import Study
from inat.tuning.budget.plan import make_plan
from tests.helpers import change_info, run_epochs
from tests.tuning.budget.test_plan import facts, size_cost

PLAN = make_plan(facts(cores=2), [size_cost(epoch=10.0, alone=5.0)])
INFO = {TIME_PLAN: PLAN.to_json(), "config": SearchConfig(max_epochs=5, patience=3).to_json()}


def config_after_last_training(tmp_path, text: str) -> SearchConfig:
    (tmp_path / "last").mkdir()
    (tmp_path / "last" / "study.json").write_text(text)
    return retraining_config(INFO, FinalizeCommand(study=tmp_path))


def test_a_study_with_a_time_plan_is_retrained_for_the_epochs_of_its_last_training(tmp_path):
    config = config_after_last_training(tmp_path, json.dumps({"config": {"max_epochs": 41}}))
    assert (config.max_epochs, config.grace_period, config.patience) == (41, 41, 41)


def test_without_a_last_training_the_planned_epochs_count(tmp_path):
    assert PLAN.last_epochs != 5
    assert retraining_config(INFO, FinalizeCommand(study=tmp_path)).max_epochs == PLAN.last_epochs


def test_without_a_time_plan_the_epochs_of_the_search_count(tmp_path):
    config = retraining_config({"config": INFO["config"]}, FinalizeCommand(study=tmp_path))
    assert (config.max_epochs, config.grace_period, config.patience) == (5, 5, 3)


@pytest.mark.parametrize(
    "text",
    ["[]", "{", "{}", '{"config": []}', *(f'{{"config": {{"max_epochs": {n}}}}}' for n in ("0", "true", '"9"'))],
)
def test_a_changed_last_training_is_refused(tmp_path, text):
    with pytest.raises(StudyError, match="last is damaged; remove it, and --resume of its study trains it again"):
        config_after_last_training(tmp_path, text)


def test_a_last_training_elsewhere_is_not_read(tmp_path):
    (tmp_path / "elsewhere.json").write_text('{"config": {"max_epochs": 41}}')
    (tmp_path / "study" / "last").mkdir(parents=True)
    (tmp_path / "study" / "last" / "study.json").symlink_to(tmp_path / "elsewhere.json")
    with pytest.raises(StudyError, match="last is damaged"):
        retraining_config(INFO, FinalizeCommand(study=tmp_path / "study"))


def test_the_user_is_told_where_the_epochs_come_from(digits_study, tmp_path):
    change_info(digits_study, lambda info: info.update({TIME_PLAN: PLAN.to_json()}))
    study = Study.open(digits_study)
    runs = Study.create(tmp_path / "runs", {"config": {}})
    task = plan(FinalizeCommand(study=digits_study, top=1, seeds=1), study)
    run_epochs(runs, runs.add_trial(task.wanted[0]).trial_id, [0.9, 0.95])
    candidates = collect_candidates(runs, task.trials, 1)
    text = describe_task(task, runs)
    _, choice, *_ = choice_sections(task, candidates, candidates[0], candidates[0].runs[0])["winner"]["in_words"]
    study.close()
    runs.close()
    assert f"up to {PLAN.last_epochs} epochs, as in the last training" in text
    assert choice.endswith(f"partly the luckiest. A run has up to {PLAN.last_epochs} epochs, a trial up to 3.")


def test_the_epochs_of_a_last_training_count_in_those_of_the_recipe(tmp_path):
    info = INFO | {"compared_at": "recipe_epoch"}
    study = Study.create(tmp_path / "study", info)
    study.add_trial({"width": 96}, epoch_cost=2.0)
    study.close()
    last = Study.create(study.directory / "last", {"config": {"max_epochs": 60}, "last_of": "t0000"})
    trial = last.add_trial({"width": 96}).trial_id
    run_epochs(last, trial, [0.5] * 30)
    last.end_trial(trial, "completed")
    last.close()
    command = FinalizeCommand(study=study.directory)
    assert retraining_config(info, command).max_epochs == 60
    assert retraining_config(INFO, command).max_epochs == 30
