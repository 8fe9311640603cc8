import json
from dataclasses import replace

import pytest

from analysis.costs.time_plan import ENTRIES, last_beside_best, last_training, plan_table, time_plan_of
from tests.analysis.studies import study_of, write_study_dir

PLAN = {"seconds": 1800.0, "image_size": 64, "trials": 12, "max_epochs": 9, "search_seconds": 900.5,
        "last_epochs": 1, "last_seconds": 600.0, "epoch_seconds": 3.456, "operations": 10**9}  # fmt: skip


@pytest.fixture
def study():
    made = study_of([{"a": 1}, {"a": 2}], [[0.2, 0.5], [0.7]], ["completed", "stopped"])
    return replace(made, info={"time_plan": PLAN, "recipe_params": {"a": 1}})


def rows(table):
    return {part: (planned, happened) for part, planned, happened in table.itertuples(index=False)}


def test_the_plan_stands_beside_what_happened(study):
    last = study_of([{"a": 2}], [[0.6, 0.8, 0.9]])
    assert rows(plan_table(study, last)) == {
        "time budget": ("30 min 0 s", "-"),
        "image size": ("64 px", "as planned"),
        "trials": ("12 trials", "2 trials"),
        "longest trial of the search": ("9 epochs", "2 epochs"),
        "search": ("15 min 0 s", "4 s"),  # both trials, one second apart
        "last training": ("1 epoch", "3 epochs"),
        "time of the last training": ("10 min 0 s", "6 s"),
        "epoch of the recipe beside other trials": ("3.5 s", "2 s"),
    }


@pytest.mark.parametrize("plan", [None, [], "x", {}, {"seconds": "many"}, {"trials": True}, {"seconds": float("nan")},
                                  {"seconds": -1}, {"unknown": 3}])  # fmt: skip
def test_a_missing_or_damaged_plan_is_none(plan):
    assert time_plan_of({"time_plan": plan}) == {}


def test_missing_keys_cost_only_their_rows(study):
    for name in ENTRIES:
        part = replace(study, info={"time_plan": {name: 5}})
        assert len(plan_table(part)) == 1
    assert plan_table(replace(study, info={})).empty


def test_the_last_training_stands_beside_the_searchs_best(study, tmp_path):
    path = write_study_dir(study, tmp_path / "study")
    assert last_training(path) is None
    write_study_dir(study_of([{"a": 2}], [[0.6, 0.8, 0.9]]), path / "last")
    test = {"trial_id": "t0001", "last_training": True, "test": {"test_acc": 0.9, "images": 100}}
    (path / "best.json").write_text(json.dumps(test))
    table = last_beside_best(path, study, last_training(path))
    assert table[["trial_id", "epochs", "result"]].values.tolist() == [["t0001", 1, 0.7], ["t0000", 3, 0.9]]
    assert table["test_accuracy"].isna().tolist() == [True, False]
    assert table["test_low"].round(3).iloc[1] == 0.826  # Wilson's interval
    (path / "best.json").write_text(json.dumps(test | {"last_training": False}))
    assert last_beside_best(path, study, last_training(path))["test_accuracy"].isna().tolist() == [False, True]


def test_a_last_training_has_the_unit_of_a_search_at_equal_cost(study, tmp_path):
    equal = replace(study, step="recipe_epoch", trials=study.trials.assign(epoch_cost=[1.0, 2.0]))
    path = write_study_dir(study, tmp_path / "study")
    made = study_of([{"a": 2}], [[0.6, 0.8, 0.9]])
    write_study_dir(replace(made, info=made.info | {"last_of": "t0001"}), path / "last")
    last = last_training(path, equal)
    assert (last.unit, last.trials["epochs"].tolist()) == ("recipe epoch", [6])  # 3 epochs, of 2 each
    assert last_training(path, study).trials["epochs"].tolist() == [3]


def test_a_single_trial_is_the_last_training(study):
    one = study_of([{"a": 1}], [[0.2, 0.5]])
    plan = {"trials": 1, "search_seconds": 0.0, "max_epochs": 3, "last_epochs": 3, "restart_seconds": 0}
    assert rows(plan_table(replace(one, info={"time_plan": plan}))) == {
        "trials": ("1 trial", "1 trial"),
        "last training": ("3 epochs", "2 epochs"),
    }


def test_a_last_training_elsewhere_is_not_read(study, tmp_path):
    path = write_study_dir(study, tmp_path / "study")
    (path / "last").symlink_to(write_study_dir(study, tmp_path / "other"))
    assert last_training(path) is None


def test_a_refit_has_a_test_score_and_no_validation_result(study, tmp_path):
    path = write_study_dir(study, tmp_path / "study")
    made = study_of([{"a": 2}], [[0.6, 0.8, 0.99]])
    write_study_dir(replace(made, info=made.info | {"last_of": "t0001", "refit": True}), path / "last")
    best_json = {"trial_id": "t0001", "refit": {"epochs": 3}, "test": {"test_acc": 0.8, "images": 100}}
    (path / "best.json").write_text(json.dumps(best_json))
    table = last_beside_best(path, study, last_training(path))
    assert table["result"].isna().tolist() == [False, True]
    assert table["epochs"].tolist() == [1, 3]
    assert table["test_accuracy"].isna().tolist() == [True, False]
