import json

import pytest
import torch

from analysis.costs.pareto import NETWORKS, cost_points
from analysis.schema import TRAINABLE
from analysis.study import load_study
from inat.constants import BEST_CKPT
from inat.study.study import Study
from inat.tuning.best import best_model, named_in_best_json, write_best
from inat.tuning.live.watch_source import WatchSource
from inat.tuning.pareto import describe_choice, describe_front, front_json, front_of
from inat.tuning.validation_noise import noise_of
from tests.helpers import change_info, run_epochs

COUNTS = {"train": [400, 400], "val": [50, 50], "test": [50, 50]}


def begin(tmp_path, **config) -> Study:
    return Study.create(tmp_path / "study", {"config": config, "class_counts": COUNTS})


def end(study: Study, value: float, parameters: int, state: str = "completed", weights: bool = True) -> str:
    trial_id = study.add_trial({"x": value}).trial_id
    run_epochs(study, trial_id, [value], trainable_parameters=parameters, seconds=1.0, val_acc=value)
    study.end_trial(trial_id, state)
    if weights:
        path = study.checkpoint_dir(trial_id) / BEST_CKPT
        path.parent.mkdir(parents=True)
        torch.save({"weights": f"of {trial_id}"}, path)
    return trial_id


@pytest.fixture
def study(tmp_path):
    """Standard error of the best: 0.04. t0003 is no better than a constant answer, t0004 dearer and worse."""
    made = begin(tmp_path, prefer_cheaper="noise")
    for value, parameters, state in ((0.8, 900, "completed"), (0.78, 300, "stopped"), (0.6, 10, "completed"),
                                     (0.5, 1, "completed"), (0.79, 950, "completed")):  # fmt: skip
        end(made, value, parameters, state)
    yield made
    made.close()


def best_json(study: Study) -> dict:
    return json.loads((study.directory / "best.json").read_text())


def test_the_front_is_named_best_first_and_the_same_as_in_the_report(study):
    front = front_json(study, study.info)
    assert [(row["trial_id"], row["parameters"]) for row in front] == [("t0000", 900), ("t0001", 300), ("t0002", 10)]
    assert front[1] == {"trial_id": "t0001", "state": "stopped", "best_val_acc": 0.78, "parameters": 300}
    study.write_trials()
    points = cost_points(load_study(study.directory))
    own = points[points["front"] & points["compared"].eq(NETWORKS) & points["cost_kind"].eq(TRAINABLE)]
    assert set(own["trial_id"]) == {row["trial_id"] for row in front}


def test_a_cheaper_trial_takes_the_place_of_the_best_everywhere(study):
    model = write_best(study)
    assert (model.trial_id, model.better.trial_id) == ("t0001", "t0000")
    written = best_json(study)
    assert written["trial_id"] == "t0001"
    assert written["cheaper_than"] == {"trial_id": "t0000", "best_val_acc": 0.8, "parameters": 900, "allowance": 0.04}
    assert torch.load(study.directory / BEST_CKPT, weights_only=True)["weights"] == "of t0001"
    assert named_in_best_json(study, study.directory).trial_id == "t0001"
    study.close()
    assert WatchSource(study.directory)().best.trial_id == "t0001"


def test_without_the_option_the_best_trial_stays_and_the_front_is_written(study):
    write_best(study)
    study.update_config({"prefer_cheaper": "off"})
    assert write_best(study).trial_id == "t0000"
    written = best_json(study)
    assert (written["trial_id"], "cheaper_than" in written, len(written["pareto_front"])) == ("t0000", False, 3)
    assert named_in_best_json(study, study.directory) is None


def test_the_noise_is_that_of_the_best_trial_and_not_of_the_chosen_one(study):
    noise = noise_of(study, best_model(study, study.directory).leader)
    assert (noise.best, len(noise.table)) == ("t0000", 4)


def test_the_summary_says_what_was_chosen_and_how_much_cheaper(study):
    model = best_model(study, study.directory)
    text = describe_front(study, study.info, model, noise_of(study, model.leader))
    assert text.splitlines()[1:] == [
        "cost    by trained parameters, no cheaper trial is as good as one of these:",
        "        t0000  0.8000  900, the best",
        "        t0001  0.7800  300, 3 times cheaper, -0.0200, cannot be told from the best, "
        "stopped after 1 epoch, chosen",
        "        t0002  0.6000   10, 90 times cheaper, -0.2000, worse by more than chance",
    ]  # fmt: skip
    assert "in the place of t0000, 0.8000, because it costs less and is within one standard error, 0.0400" in (
        describe_choice(model, study.info)
    )


def test_the_summary_says_that_no_cheaper_trial_was_good_enough(tmp_path):
    study = begin(tmp_path, prefer_cheaper=0.005)
    end(study, 0.8, 900), end(study, 0.79, 1)
    told = describe_choice(best_model(study, study.directory), study.info)
    assert told == "\nchosen  the best trial: no cheaper one is within --prefer-cheaper, 0.0050"
    assert describe_choice(best_model(study, study.directory), {"config": {}}) == ""


def test_a_trial_without_weights_is_not_chosen(tmp_path):
    study = begin(tmp_path, prefer_cheaper=0.1)
    best, _ = end(study, 0.8, 900), end(study, 0.79, 1, weights=False)
    assert write_best(study).trial_id == best


def test_many_trials_on_the_front_are_counted(tmp_path):
    study = begin(tmp_path)
    for number in range(8):
        end(study, 0.6 + number / 100, 1 + number)
    text = describe_front(study, study.info, best_model(study, study.directory), None)
    assert text.splitlines()[-1] == "        and 3 cheaper trials, see the report"
    assert len(text.splitlines()) == 8


def test_without_costs_there_is_no_front(tmp_path):
    study = begin(tmp_path)
    trial = study.add_trial({"x": 1})
    run_epochs(study, trial.trial_id, [0.9])
    study.end_trial(trial.trial_id, "completed")
    assert front_of(study, study.info) == []
    write_best(study)
    assert "pareto_front" not in best_json(study)


def test_junk_in_study_json_prefers_nothing(study):
    study.close()
    change_info(study.directory, lambda info: info["config"].update(prefer_cheaper=["noise"], cost=3))
    reopened = Study.open(study.directory)
    assert write_best(reopened).trial_id == "t0000"
    reopened.close()
