import re

import numpy as np
import pytest

from analysis.markdown import format_duration, markdown_table
from analysis.report.build import build
from analysis.report.document import section
from tests.analysis.studies import study_of

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def report(study, tmp_path_factory):
    return build(study, tmp_path_factory.mktemp("place"))


def test_sections_are_in_order(report):
    assert [section.name for section in report.sections] == [
        "trials", "panel", "time", "cost", "slices", "importance", "effects", "interactions", "claims", "stopping",
        "record",
    ]  # fmt: skip


def test_every_figure_has_a_description_and_a_unique_name(report):
    names = [figure.name for figure in report.figures]
    assert len(set(names)) == len(names)
    assert {"parallel", "panel", "created", "curves", "importance", "effects", "interaction", "dependence"} <= set(
        names
    )
    assert {"claims", "best_so_far", "rungs", "slots", "progress", "costs"} <= set(names)
    assert all(len(figure.alt) > 30 for figure in report.figures)


def test_every_comparison_names_its_budget(report):
    texts = {s.name: " ".join(item for item in s.items if isinstance(item, str)) for s in report.sections}
    for name in ("panel", "importance", "effects", "interactions"):
        assert "within 3 epochs, 60 of 60 trials" in texts[name]
    for name in ("effects", "claims"):
        assert "Whether these verdicts hold at epoch 9, the last, cannot be known (0 ended control tr" in texts[name]
    for figure in report.figures:
        if figure.name in ("importance", "effects", "interaction", "dependence", "claims"):
            assert "3 epochs" in figure.caption


def test_a_requested_budget_is_used(study, tmp_path):
    report = build(study, tmp_path, epochs=9)
    text = next(item for s in report.sections if s.name == "importance" for item in s.items)
    assert "within 9 epochs, 30 of 60 trials" in text
    importance = next(table for table in report.tables if table.name == "importance")
    assert importance.frame["epochs"].unique() == [9]


def test_a_budget_beyond_the_longest_trial_is_refused(study, tmp_path):
    with pytest.raises(ValueError, match="choose a budget of 1 to 9 epochs"):
        build(study, tmp_path, epochs=10)


def test_key_findings_cover_importance_claims_stopping_and_failures(report):
    findings = " | ".join(report.headline.findings)
    assert re.search(
        r"\w+ matters most \(loss of R² when shuffled, 95 % interval 0\.\d+ to 1\.00; out-of-bag", findings
    )
    assert "Of 7 takeaways published for nature_12K about its hyperparameters, this study supports" in findings
    # 30 completed or failed trials trained 9 epochs, 30 stopped trials 3.
    saved = "Early stopping saved 180 epochs (360 trained; 540 if the 30 stopped trials had trained to epoch 9)."
    assert saved in findings
    assert "1 trial failed (</script>" in findings


def test_the_trials_of_the_page_are_in_the_order_of_their_lines(report):
    lines = next(p for p in report.figures if p.name == "parallel").interactive.data[0].dimensions[-1]
    assert [t["result"] for t in report.data["trials"]] == pytest.approx(list(lines.values))


@pytest.mark.parametrize(
    "study",
    [
        study_of([], [], []),
        study_of([{"a": 1}], [[]], ["failed"]),
        study_of([{"a": 1}], [[0.5]]),
        study_of([{"a": 1}, {"a": 1}], [[0.5], [np.nan]]),
        study_of([{"a": i} for i in range(3)], [[0.5, 0.6]] * 3),
    ],
    ids=["no trial", "no accuracy", "one trial", "nothing varies", "all alike"],
)
def test_a_study_too_small_for_some_sections_has_the_others(study, tmp_path):
    report = build(study, tmp_path)
    titles = {"All trials", "W&B panel", "Over time", "Time and cost", "Slices", "Importance", "Effects",
              "Interactions", "Early stopping", "Study record"}  # fmt: skip
    # None about claims: the study has none of their hyperparameters.
    shown = {s.title for s in report.sections} - {"Not available"}
    assert shown <= titles
    without = " ".join(s.items[0] for s in report.sections if s.missing)
    assert all(title in without for title in titles - shown)
    assert all(s.items for s in report.sections)


def test_a_section_that_fails_contains_the_reason():
    def make_items():
        raise ValueError("it is Tuesday")

    assert section("a", "A", make_items).items == ["Not available for this study: it is Tuesday."]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59.4, "59 s"), (59.6, "1 min 0 s"), (61, "1 min 1 s"), (3599.9, "1 h 0 min"), (36000, "10 h 0 min")],
)
def test_durations_are_formatted_for_people(seconds, text):
    assert format_duration(seconds) == text


def test_tables_in_markdown():
    assert "| 0.123 | -   |" in markdown_table(
        study_of([{"a": 1}], [[0.1]]).trials.head(1).assign(a=0.12345678, b=None)[["a", "b"]]
    )
