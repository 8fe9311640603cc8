import math

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.comparable import sample_at
from analysis.readers.equal_cost import at_equal_cost
from analysis.rungs import epochs_at
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


def one_trial(cost: float, own: int, rungs: list[int] | None = None):
    trials = pd.DataFrame({"trial_id": ["a"], "epochs": [own], "epoch_cost": [cost]})
    values = [epoch / 100 for epoch in range(1, own + 1)]
    history = {"trial_id": "a", "epoch": range(1, own + 1), "val_acc": values, "train_acc": values, "seconds": cost}
    return at_equal_cost(trials, pd.DataFrame(history), "max", rungs or [])


@pytest.mark.parametrize(("cost", "own", "reached"), [
    (3.0, 1, 4), (1.8, 2, 4), (2.1, 6, 12), (0.333, 1, 1), (0.333, 36, 12), (1.0, 4, 4), (0.5, 3, 2),
])  # fmt: skip
def test_a_trial_has_reached_the_rung_at_which_it_was_compared(cost, own, reached):
    trials, history = one_trial(cost, own, [4, 12])
    assert trials[["epochs", "own_epochs"]].values.tolist() == [[reached, own]]
    assert history["epoch"].tolist()[-1] == reached


@given(st.floats(0.02, 5.0).map(lambda cost: round(cost, 3)), st.integers(1, 40))
def test_the_history_has_each_epoch_of_the_recipe_once_with_all_seconds(cost, own):
    trials, history = one_trial(cost, own)
    assert history["epoch"].tolist() == list(range(1, int(trials["epochs"].iloc[0]) + 1))
    assert history["seconds"].sum() == pytest.approx(cost * own)
    assert history["val_acc"].is_monotonic_increasing
    for cost_so_far, value in zip(history["epoch"], history["val_acc"], strict=True):
        assert value == min(own, epochs_at(cost_so_far, cost)) / 100


def test_the_epochs_within_one_of_the_recipe_are_one_row(directory):
    study = load_study(directory)
    half = study.history[study.history["trial_id"] == "t0001"]
    assert half[["epoch", "val_acc", "seconds"]].values.tolist() == [
        [1, 0.6, 1.0], [2, 0.3, 1.0], [3, 0.7, 1.0], [4, 0.1, 1.0],
    ]  # fmt: skip
    assert study.history.groupby("trial_id")["seconds"].sum().tolist() == [4.0, 4.0, 4.0]
    assert study.trials["own_epochs"].tolist() == [4, 8, 2]
    double = study.history[study.history["trial_id"] == "t0002"]
    assert double[["epoch", "val_acc"]].values.tolist() == [[1, 0.2], [2, 0.2], [3, 0.2], [4, 0.5]]
    assert double["seconds"].tolist() == pytest.approx([2.0, 2 / 3, 2 / 3, 2 / 3])  # the second own epoch costs as much


def test_of_a_loss_the_lowest_one_stands_for_several():
    trials = pd.DataFrame({"trial_id": ["t0000"], "epochs": [2], "epoch_cost": [0.5]})
    rows = {"trial_id": "t0000", "epoch": [1, 2], "val_acc": [0.4, math.nan], "seconds": [1.0, 1.0]}
    assert at_equal_cost(trials, pd.DataFrame(rows), "min")[1]["val_acc"].tolist() == [0.4]
    rows["val_acc"] = [0.4, 0.5]
    assert at_equal_cost(trials, pd.DataFrame(rows), "min")[1]["val_acc"].tolist() == [0.4]
    assert at_equal_cost(trials, pd.DataFrame(rows), "max")[1]["val_acc"].tolist() == [0.5]


@pytest.mark.parametrize("epochs", [math.nan, math.inf, 0])
def test_a_trial_without_an_epoch_stays_so(epochs):
    trials = pd.DataFrame({"trial_id": ["a"], "epochs": [epochs], "epoch_cost": [2.0]})
    nothing = pd.DataFrame({"trial_id": [], "epoch": [], "val_acc": [], "seconds": []})
    found, history = at_equal_cost(trials, nothing, "max", [4])
    assert str(found["epochs"].iloc[0]) == str(float(epochs))
    assert not len(history)


@pytest.mark.parametrize("written", ["", "-1", "0", "inf"])
def test_a_cost_that_cannot_be_is_that_of_the_recipe(directory, written):
    path = directory / "trials.csv"
    *lines, _ = path.read_text().splitlines()
    last = path.read_text().splitlines()[-1].rsplit(",", 1)[0] + f",{written}"
    path.write_text("\n".join([*lines, last]) + "\n")
    assert load_study(directory).trials["epochs"].tolist() == [4, 4, 2]
