import copy
import json
import re
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.figures.final import plot_confusion, plot_reliability
from analysis.report.build import build
from analysis.report.sections.final import final_fact, final_section
from analysis.side_by_side.evaluations import read_final
from tests.analysis.studies import study_of

METRICS = {
    "format": 1,
    "seeds": 3,
    "data": {"classes": ["cat", "dog"]},
    "candidates": [{"trial_id": "t1", "name": "n", "search_val_acc": 0.9, "mean": 0.8, "sd": 0.1, "n": 3, "failed": 0}],
    "winner": {"trial_id": "t1", "in_words": ["t1 wins."]},
    "evaluations_in_words": "Evaluated once.",
    "test": {
        "images": 10, "accuracy": 0.7, "accuracy_interval": [0.4, 0.9], "top2_accuracy": 1.0, "macro_f1": 0.68,
        "constant_accuracy": 0.6, "ece": 0.05, "confusion": [[5, 1], [2, 2]],
        "confusions": [{"true": "dog", "predicted": "cat", "images": 2, "of": 4}],
        "per_class": [{"class": "cat", "precision": 0.71, "recall": 0.83, "recall_interval": [0, 1], "f1": 0.77,
                       "support": 6}],
        "reliability": [
            {"confidence": None, "accuracy": None, "accuracy_interval": None, "images": 0},
            {"confidence": 0.8, "accuracy": 0.7, "accuracy_interval": [0.4, 0.9], "images": 10},
        ],
    },
}  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "final").mkdir()
    (tmp_path / "final" / "metrics.json").write_text(json.dumps(METRICS))
    return tmp_path


def test_the_final_model_is_the_first_section_and_on_the_first_screen(folder):
    report = build(study_of([{"a": 1}, {"a": 2}], [[0.5], [0.6]]), folder)
    assert report.sections[0].name == "final"
    fact = next(fact for fact in report.headline.facts if fact.label == "final model")
    assert (fact.value, fact.note) == (
        "0.7000",
        "test accuracy of t1, retrained (95 % interval 0.400 to 0.900, 10 images; a constant answer scores 0.6000)",
    )
    finding, selection = report.sections[0].items[:2]
    assert finding.startswith("The final model has a test accuracy of 0.7000 (95 % interval 0.400 to 0.900, 10 images;")
    assert "t1 wins. Evaluated once." in selection


def test_the_ensemble_is_reported_beside_the_model():
    (section,) = final_section(METRICS | {"ensemble": {"in_words": ["It has 0.8.", "It is optimistic."]}})
    assert section.items[2] == "It has 0.8. It is optimistic."
    (without,) = final_section(METRICS | {"ensemble": None})
    assert len(without.items) == len(section.items) - 1


def test_the_confusion_matrix_has_the_counts_of_each_true_class(folder):
    (section,) = final_section(read_final(folder))
    confusion = next(item for item in section.items if getattr(item, "name", "") == "confusion")
    assert [text.get_text() for text in confusion.axes.texts] == ["5", "1", "2", "2"]
    assert confusion.alt == "Confusion matrix. Most frequent confusion: dog predicted as cat, 2 of 4."


def test_reliability_leaves_out_empty_bins(folder):
    (section,) = final_section(read_final(folder))
    figure = next(item for item in section.items if getattr(item, "name", "") == "reliability")
    assert figure.axes.collections[-1].get_offsets().tolist() == [[0.8, 0.7]]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"test": 3}', '{"format": 2, "test": {"accuracy": 1}}'])
def test_without_a_final_model_there_is_no_section(text, tmp_path):
    (tmp_path / "final").mkdir()
    (tmp_path / "final" / "metrics.json").write_text(text)
    assert final_section(read_final(tmp_path)) == final_fact(read_final(tmp_path)) == []


def test_many_classes_have_colours_without_numbers():
    import pandas as pd

    names = [f"c{i}" for i in range(30)]
    assert plot_confusion(pd.DataFrame(1, index=names, columns=names)).texts[:] == []
    bins = pd.DataFrame({"confidence": [0.5], "accuracy": [0.4], "low": [0.1], "high": [0.8], "images": [3.0]})
    assert plot_reliability(bins).get_xlabel() == "mean confidence"


def test_a_single_image_has_no_interval():
    (fact,) = final_fact(METRICS | {"test": METRICS["test"] | {"accuracy_interval": None, "images": 1}})
    assert fact.note == "test accuracy of t1, retrained (1 images; a constant answer scores 0.6000)"


def places(value, path=()):
    """The paths of all values in nested dictionaries and lists."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*path, key)
        yield from places(inner, (*path, key))


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(list(places(METRICS))),
    st.sampled_from([None, "x", -1, 10**400, float("nan"), float("inf"), [], {}, [[1]], {"a": 1}, True]),
)
def test_a_changed_record_gives_a_reason_and_not_a_traceback(place, value):
    metrics = copy.deepcopy(METRICS)
    inner = metrics
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    with TemporaryDirectory() as folder:
        (Path(folder) / "final").mkdir()
        (Path(folder) / "final" / "metrics.json").write_text(json.dumps(metrics))
        known = read_final(Path(folder))
        final_fact(known)
        sections = final_section(known)
    reason = r"Not available for this study: final/metrics.json is damaged \(.*\); run inat.finalize again."
    assert not sections or len(sections[0].items) > 1 or re.fullmatch(reason, sections[0].items[0], re.DOTALL)
