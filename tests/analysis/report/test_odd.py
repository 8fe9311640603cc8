"""Reports of unusual studies: strange names, infinite losses, damaged scores, long trainings."""

import json
import warnings
from dataclasses import replace

import numpy as np
import pytest

from analysis.report.build import build
from analysis.report.headline import headline
from analysis.report.write import write
from tests.analysis.studies import study_of

pytestmark = pytest.mark.slow
NAMES = ["$\\frac$", "<b>&amp;", "a|b\nc", "x" * 300]


def odd_study(count: int = 24):
    rng = np.random.default_rng(0)
    params = [{name: f"{name}{rng.integers(3)}" for name in NAMES} | {"folder": f"/tmp/{i}"} for i in range(count)]
    return study_of(params, [[0.2 + 0.01 * i, 0.3 + 0.01 * i] for i in range(count)])


def test_names_and_values_are_escaped_as_text(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        page = write(build(odd_study(), tmp_path), tmp_path)[0].read_text()
    assert "<b>&amp;0" not in page
    assert "&lt;b&gt;&amp;amp;0" in page
    rows = [line for line in (tmp_path / "summary.md").read_text().splitlines() if line.startswith("| t00")]
    assert len(rows) >= 10


def test_a_parameter_with_a_text_per_trial_is_left_out_and_named(tmp_path):
    report = build(odd_study(), tmp_path)
    text = next(item for s in report.sections if s.name == "effects" for item in s.items)
    assert "without folder, with more than 20 different texts each" in text


def test_diverged_losses_are_not_drawn(tmp_path):
    study = odd_study()
    history = study.history.assign(val_loss=np.where(study.history["epoch"].eq(2), np.inf, 1e300))
    report = build(replace(study, history=history), tmp_path)
    assert "curves" in {figure.name for figure in report.figures}


@pytest.mark.parametrize(
    "test", [{"test_loss": 0.1}, {"test_acc": float("nan"), "images": 9}, {"test_acc": 1, "images": 0}, 3]
)
def test_a_damaged_test_score_is_ignored(test, tmp_path):
    study = study_of([{"a": 1}], [[0.5]])
    (tmp_path / "best.json").write_text(json.dumps({"trial_id": "t0000", "test": test}))
    assert headline(study, tmp_path, []).facts[1].value == "-"


def test_a_study_of_failed_trials_has_a_report(tmp_path):
    study = study_of([{"a": i} for i in range(12)], [[0.5, 0.6]] * 12, ["failed"] * 12)
    study = replace(study, history=study.history.head(0))
    texts = [item for section in build(study, tmp_path).sections for item in section.items if isinstance(item, str)]
    assert any("all 12 trials failed; mend the cause" in text for text in texts)


def test_the_page_of_long_trials_stays_small(tmp_path):
    draw = np.random.default_rng(0)
    study = study_of([{"a": i % 4} for i in range(300)], draw.random((300, 200)).tolist())
    page = write(build(study, tmp_path), tmp_path)[0]
    assert page.stat().st_size < 8e6
