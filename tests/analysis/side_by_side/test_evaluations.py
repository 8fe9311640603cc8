"""Test scores with intervals, and gains of classes between final models."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from analysis.side_by_side.class_gains import class_gains, difference_of_shares
from analysis.side_by_side.evaluations import evaluations
from analysis.stats.shares import wilson_interval
from tests.analysis.studies import study_of


def study_at(path: Path, best: dict | None = None, recalls: dict[str, tuple[float, int]] | None = None):
    (path / "final").mkdir(parents=True)
    if best:
        (path / "best.json").write_text(json.dumps({"trial_id": "t0001", "test": best}))
    if recalls:
        rows = [{"class": name, "recall": recall, "support": n} for name, (recall, n) in recalls.items()]
        test = {"accuracy": 0.75, "images": 200, "constant_accuracy": 0.2, "per_class": rows}
        metrics = {"format": 1, "winner": {"trial_id": "t0007"}, "test": test}
        (path / "final" / "metrics.json").write_text(json.dumps(metrics))
    return replace(study_of([{"x": 1}], [[0.5]]), path=path)


def test_each_model_that_was_evaluated_has_a_row(tmp_path):
    search = {"test_acc": 0.5, "images": 100, "constant_accuracy": 0.3}
    study = study_at(tmp_path / "s", search, {"bird": (0.8, 50)})
    table = evaluations({"s": study, "none": study_of([{"x": 1}], [[0.5]])})
    assert table["model"].tolist() == ["best of the search", "final model"]
    assert table["trial"].tolist() == ["t0001", "t0007"]
    assert table["test_accuracy"].tolist() == [0.5, 0.75]
    assert table["constant_answer"].tolist() == [0.3, 0.2]
    assert table[["low", "high"]].iloc[1].tolist() == pytest.approx(wilson_interval(150, 200))


@pytest.mark.parametrize("best", [
    {"test_acc": 1.5, "images": 10}, {"test_acc": 0.5}, {"test_acc": True, "images": 10},
    {"test_acc": 0.5, "images": -1}, {"test_acc": float("nan"), "images": 10},
])  # fmt: skip
def test_a_damaged_score_is_no_score(tmp_path, best):
    assert len(evaluations({"s": study_at(tmp_path / "s", best)})) == 0


def test_gains_are_against_the_first_study_with_a_final_model(tmp_path):
    studies = {
        "untested": study_at(tmp_path / "a"),
        "scratch": study_at(tmp_path / "b", recalls={"bird": (0.5, 40), "fish": (0.9, 20)}),
        "tuned": study_at(tmp_path / "c", recalls={"fish": (0.8, 20), "bird": (0.75, 40), "worm": (1.0, 1)}),
    }
    table = class_gains(studies)
    assert table["class"].tolist() == ["bird", "fish"]
    assert table["gain"].tolist() == pytest.approx([0.25, -0.1])
    assert table.loc[0, "low"] > 0
    assert table.loc[1, "low"] < 0 < table.loc[1, "high"]


def test_the_interval_of_a_difference_is_newcombes():
    # The worked example of Newcombe's method 10: 56 of 70 against 48 of 80.
    gain, low, high = difference_of_shares(56 / 70, 70, 48 / 80, 80)
    assert (gain, low, high) == pytest.approx((0.2, 0.0524, 0.3339), abs=5e-5)
