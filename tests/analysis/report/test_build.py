import re

import numpy as np
import pytest

from analysis.markdown import duration, markdown
from analysis.report.build import build
from analysis.report.model import section
from tests.analysis.studies import study_of

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def report(study, tmp_path_factory):
    return build(study, tmp_path_factory.mktemp("place"))


def test_sections_are_in_order(report):
    assert [section.name for section in report.sections] == [
        "trials", "panel", "time", "importance", "effects", "together", "claims", "stopping", "making",
    ]  # fmt: skip


def test_every_picture_has_words_and_a_name_of_its_own(report):
    names = [picture.name for picture in report.pictures]
    assert len(set(names)) == len(names)
    assert {"parallel", "panel", "created", "curves", "importance", "effects", "interaction", "dependence"} <= set(
        names
    )
    assert {"claims", "best_so_far", "rungs", "slots"} <= set(names)
    assert all(len(picture.alt) > 30 for picture in report.pictures)


def test_every_comparison_says_its_budget(report):
    texts = {s.name: " ".join(item for item in s.items if isinstance(item, str)) for s in report.sections}
    for name in ("panel", "importance", "effects", "together"):
        assert "within 3 epochs, 60 of 60 trials" in texts[name]


def test_another_budget_is_compared_at_if_asked_for(study, tmp_path):
    report = build(study, tmp_path, epochs=9)
    text = next(item for s in report.sections if s.name == "importance" for item in s.items)
    assert "within 9 epochs, 30 of 60 trials" in text
    assert report.tables[3].frame["epochs"].unique() == [9]


def test_a_budget_that_nobody_trained_is_refused(study, tmp_path):
    with pytest.raises(ValueError, match="choose 1 to 9"):
        build(study, tmp_path, epochs=10)


def test_findings_tell_of_luck_importance_claims_stopping_and_failures(report):
    said = " | ".join(report.headline.findings)
    assert re.search(r"Mattered most, in R² lost without them: \w+ \(0\.\d+ to", said)
    assert "Of the ten takeaways" in said
    # 30 completed or failed ones trained 9 epochs, 30 stopped ones 3.
    assert "360 epochs were trained. Had the 30 stopped trials gone on to epoch 9, it would have been 540;" in said
    assert "1 trial failed with: </script>" in said


def test_the_trials_of_the_page_are_in_the_order_of_their_lines(report):
    lines = next(p for p in report.pictures if p.name == "parallel").interactive.data[0].dimensions[-1]
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
def test_a_study_too_small_for_a_section_has_the_others(study, tmp_path):
    report = build(study, tmp_path)
    assert len(report.sections) == 9
    assert all(s.items for s in report.sections)


def test_a_section_that_cannot_be_made_says_why():
    def make():
        raise ValueError("it is Tuesday")

    assert section("a", "A", make).items == ["Not to be had from this study: it is Tuesday."]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59.4, "59 s"), (59.6, "1 min 0 s"), (61, "1 min 1 s"), (3599.9, "1 h 0 min"), (36000, "10 h 0 min")],
)
def test_durations_read_as_people_say_them(seconds, text):
    assert duration(seconds) == text


def test_tables_in_markdown():
    assert "| 0.123 | -   |" in markdown(
        study_of([{"a": 1}], [[0.1]]).trials.head(1).assign(a=0.12345678, b=None)[["a", "b"]]
    )
