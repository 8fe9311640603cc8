import pandas as pd

from analysis.comparable import sample_at
from analysis.report.budget_results import BudgetResults
from analysis.report.document import ReportFigure, Table
from analysis.report.sections.knobs import knobs_finding, knobs_section
from tests.analysis.studies import early_stopped_study

ROW = {"knob": "lr", "recipe_value": "0.1", "value": "0.01", "gain": 0.1, "low": 0.05, "high": 0.15,
       "verdict": "better than the recipe"}  # fmt: skip


def without_forest(study):
    """The comparison at one budget without the importance, which takes seconds and which the section does not use."""
    return BudgetResults(sample_at(study), None, pd.DataFrame())


def test_the_section_has_one_row_per_knob_and_names_the_ones_that_never_moved():
    study = early_stopped_study(40)
    study.info["recipe_params"] = {"learning_rate": 0.0001, "batch_norm": True, "activation": "relu", "other": 1}
    study.trials["activation"] = "relu"
    (section,) = knobs_section(study, without_forest(study))
    (table, whole) = (item for item in section.items if isinstance(item, Table))
    assert table.frame[["knob", "recipe_value", "best_other_value", "verdict"]].values.tolist()[0] == [
        "learning_rate", "0.0001", "0.01", "better than the recipe",
    ]  # fmt: skip
    assert table.frame["knob"].tolist() == ["learning_rate", "batch_norm"]
    assert table.note == "No trial changed activation."
    assert table.frame["epochs"].eq(3).all()
    assert len(whole.frame) == 3
    assert "within 3 epochs, 40 of 40 trials" in section.items[0]
    assert [item.name for item in section.items if isinstance(item, ReportFigure)] == ["knobs"]


def test_without_a_recipe_there_is_no_section():
    study = early_stopped_study(10)
    assert knobs_section(study, "no comparison") == []
    study.info["recipe_params"] = {"unknown": 1}
    assert knobs_section(study, "no comparison") == []


def test_without_a_comparison_the_section_says_why():
    study = early_stopped_study(10)
    study.info["recipe_params"] = {"batch_norm": True}
    (section,) = knobs_section(study, "no trial has a result")
    assert section.items == ["Not available for this study: no trial has a result."]


def test_the_finding_names_the_gains_or_that_there_are_none():
    table = pd.DataFrame([ROW, ROW | {"knob": "wd", "verdict": "undecided"}])
    assert knobs_finding(table, table) == (
        "1 of 2 hyperparameters did better away from the recipe (lr 0.01 instead of 0.1: +0.100, 95 % interval 0.050 "
        "to 0.150; 1 undecided)."
    )
    assert knobs_finding(table.iloc[1:], table.iloc[1:]) == (
        "No value is significantly better than the recipe's (1 hyperparameter, all of them undecided; 1 comparison)."
    )
    few = pd.DataFrame([ROW | {"verdict": "too few trials"}])
    assert knobs_finding(few, few) == (
        "What moving away from the recipe gave is unknown (too few trials for each value; 1 hyperparameter)."
    )
