import json
from dataclasses import replace

import pytest

from analysis.report.document import Table
from analysis.report.sections.time_plan import time_plan_section
from tests.analysis.studies import study_of, write_study_dir


@pytest.fixture
def study():
    made = study_of([{"a": 1}, {"a": 2}], [[0.2, 0.5], [0.7]], ["completed", "stopped"])
    return replace(made, info={"time_plan": {"seconds": 1800, "trials": 2, "last_epochs": 3}})


def items(study, path):
    (section,) = time_plan_section(study, path)
    return section.items


def test_the_last_training_is_compared_with_the_searchs_best(study, tmp_path):
    path = write_study_dir(study, tmp_path / "study")
    text, plan = items(study, path)
    assert text == "The last training has no result yet."
    write_study_dir(study_of([{"a": 2}], [[0.6, 0.8, 0.9]]), path / "last")
    text, last, plan = items(study, path)
    assert text.startswith(
        "The last training is 0.2000 better than the search's best (0.9000 after 3 epochs, completed, against 0.7000 "
        "after 1 epoch)."
    )
    assert isinstance(last, Table)
    assert isinstance(plan, Table)
    assert last.frame["result"].tolist() == [0.7, 0.9]


def test_a_damaged_last_training_costs_only_its_rows(study, tmp_path):
    path = write_study_dir(study, tmp_path / "study")
    (path / "last").mkdir()
    (path / "last" / "trials.csv").mkdir()
    (path / "last" / "study.json").write_text(json.dumps({}))
    found = items(study, path)
    assert isinstance(found[-1], Table)
    assert len(found[-1].frame) == 3


def test_without_a_plan_there_is_no_section(study, tmp_path):
    assert time_plan_section(replace(study, info={}), tmp_path) == []


def test_the_image_sizes_that_were_compared_have_a_table(study, tmp_path):
    sizes = [{"image_size": side, "value": value, "seconds": 12.5} for side, value in ((64, 0.71), (128, 0.72))]
    plan = study.info["time_plan"] | {"image_size": 64}
    path = write_study_dir(study, tmp_path / "study")
    text, _, table = items(replace(study, info={"time_plan": plan | {"compared_sizes": sizes}}), path)
    assert text == "The last training has no result yet."
    assert table.frame["result"].tolist() == [0.71, 0.72]
    assert table.frame["chosen"].tolist() == ["yes", "no"]
    for damaged in ("much", [3, {"image_size": 64}, {"image_size": "big", "value": 1, "seconds": 1}]):
        assert len(items(replace(study, info={"time_plan": plan | {"compared_sizes": damaged}}), path)) == 2


def test_a_refit_is_measured_by_the_test_photos_alone(study, tmp_path):
    path = write_study_dir(study, tmp_path / "study")
    made = study_of([{"a": 2}], [[0.6, 0.8, 0.99]])
    write_study_dir(replace(made, info=made.info | {"refit": True, "last_of": "t0000"}), path / "last")
    text = "repeats t0000 for 3 epochs on the training and validation photos together."
    assert f"{text} It is not the result of the study: best.ckpt is of the search." in items(study, path)[0]
    running = replace(
        made, trials=made.trials.assign(state="running"), info=made.info | {"refit": True, "last_of": "t0000"}
    )
    going_on = write_study_dir(study, tmp_path / "going_on")
    write_study_dir(running, going_on / "last")
    assert items(study, going_on)[0] == f"The last training {text} It has not ended."
    best_json = {"trial_id": "t0000", "refit": {"epochs": 3}}
    (path / "best.json").write_text(json.dumps(best_json))
    assert (
        f"{text} Nothing has measured it yet; 0.5000 is the validation result of the search." in items(study, path)[0]
    )
    (path / "best.json").write_text(json.dumps(best_json | {"test": {"test_acc": 0.8, "images": 100}}))
    assert f"{text} Only the test photos measure it;" in items(study, path)[0]
