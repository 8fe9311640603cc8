import math

import pandas as pd
import pytest

from analysis.comparable import sample_at
from analysis.readers.equal_cost import at_equal_cost
from analysis.study import load_study
from inat.study.study import Study

CONFIG = {"max_epochs": 4, "grace_period": 2, "reduction_factor": 2}


@pytest.fixture
def directory(tmp_path):
    """A trial of the recipe, one whose epochs cost half as much, and one whose epochs cost twice as much."""
    study = Study.create(tmp_path / "study", {"config": CONFIG, "compared_at": "recipe_epoch"})
    small = (0.1, 0.6, 0.2, 0.3, 0.7, 0.5, 0.1, 0.1)
    small = (0.1, 0.6, 0.2, 0.3, 0.7, 0.5, 0.1, 0.1)
    for cost, values in ((1.0, (0.1, 0.3, 0.2, 0.4)), (0.5, small), (2.0, (0.2, 0.5))):
        trial = study.add_trial({"width": 64 * cost}, epoch_cost=cost)
        for epoch, value in enumerate(values, start=1):
            best = max(values[:epoch])
            row = {"epoch": epoch, "val_acc": value, "best_val_acc": best, "seconds": cost}
            study.add_epoch(trial.trial_id, row)
        study.end_trial(trial.trial_id, "completed")
    study.close()
    return study.directory


def test_trials_are_compared_at_equal_cost(directory):
    study = load_study(directory)
    assert (study.unit, study.parameters) == ("recipe epoch", ["width"])
    assert study.trials["epochs"].tolist() == [4, 4, 4]
    assert sample_at(study, epochs=2).trials["accuracy"].tolist() == [0.3, 0.6, 0.2]
    assert sample_at(study, epochs=4).trials["accuracy"].tolist() == [0.4, 0.7, 0.5]


def test_a_trial_has_reached_the_rung_at_which_it_was_compared():
    trials = pd.DataFrame({"trial_id": list("abc"), "epochs": [1, 1, 2], "epoch_cost": [3.0, 3.0, 1.8]})
    nothing = pd.DataFrame({"trial_id": [], "epoch": [], "val_acc": [], "seconds": []})
    assert at_equal_cost(trials, nothing, "max", [4, 12])[0]["epochs"].tolist() == [4, 4, 4]
    assert at_equal_cost(trials, nothing, "max")[0]["epochs"].tolist() == [3, 3, 4]


def test_the_epochs_within_one_of_the_recipe_are_one_row(directory):
    study = load_study(directory)
    half = study.history[study.history["trial_id"] == "t0001"]
    assert half[["epoch", "val_acc", "seconds"]].values.tolist() == [
        [1, 0.6, 1.0], [2, 0.3, 1.0], [3, 0.7, 1.0], [4, 0.1, 1.0],
    ]  # fmt: skip
    assert study.history.groupby("trial_id")["seconds"].sum().tolist() == [4.0, 4.0, 4.0]


def test_of_a_loss_the_lowest_row_stands_for_several():
    trials = pd.DataFrame({"trial_id": ["t0000"], "epochs": [2], "epoch_cost": [0.5]})
    rows = {"trial_id": "t0000", "epoch": [1, 2], "val_acc": [0.4, math.nan], "seconds": [1.0, 1.0]}
    assert at_equal_cost(trials, pd.DataFrame(rows), "min")[1]["val_acc"].tolist() == [0.4]
    rows["val_acc"] = [0.4, 0.5]
    assert at_equal_cost(trials, pd.DataFrame(rows), "min")[1]["val_acc"].tolist() == [0.4]
    assert at_equal_cost(trials, pd.DataFrame(rows), "max")[1]["val_acc"].tolist() == [0.5]


@pytest.mark.parametrize("written", ["", "-1", "0", "inf"])
def test_a_cost_that_cannot_be_is_that_of_the_recipe(directory, written):
    path = directory / "trials.csv"
    *lines, _ = path.read_text().splitlines()
    last = path.read_text().splitlines()[-1].rsplit(",", 1)[0] + f",{written}"
    path.write_text("\n".join([*lines, last]) + "\n")
    assert load_study(directory).trials["epochs"].tolist() == [4, 4, 2]
