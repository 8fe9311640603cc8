"""Reports of a study whose metric is minimised."""

from dataclasses import replace

import pytest

from analysis.figures.curves import created_points, epoch_curves, known_metrics
from analysis.figures.parallel import interactive_parallel, parallel_lines
from analysis.report.build import build
from analysis.study import StudyData
from tests.analysis.studies import factorial, known_study

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def loss_study() -> StudyData:
    accuracy = known_study(factorial().sample(40, random_state=0))
    trials = accuracy.trials.assign(best_val_acc=1 - accuracy.trials["best_val_acc"])
    history = accuracy.history.assign(val_acc=1 - accuracy.history["val_acc"])
    return replace(accuracy, trials=trials, history=history, metric="val/error", mode="min")


def test_the_lowest_is_the_best_everywhere(loss_study, tmp_path):
    lowest = loss_study.trials.loc[loss_study.trials["best_val_acc"].idxmin(), "trial_id"]
    report = build(loss_study, tmp_path)
    assert report.headline.subtitle == f"best trial {lowest}"
    assert report.headline.facts[0].label == "val/error"
    assert report.tables[0].frame["trial_id"].iloc[0] == lowest
    assert epoch_curves(loss_study).query("best")["trial_id"].unique() == [lowest]
    assert created_points(loss_study)["best_so_far"].is_monotonic_decreasing


def test_the_studys_metric_is_named_and_drawn(loss_study, tmp_path):
    texts = [
        item for section in build(loss_study, tmp_path).sections for item in section.items if isinstance(item, str)
    ]
    assert any("lowest val/error within" in text for text in texts)
    assert known_metrics(epoch_curves(loss_study)) == ["val/error"]
    assert list(parallel_lines(loss_study)[0])[-1] == "val/error"


def test_the_colour_scale_is_reversed(loss_study):
    maximised = interactive_parallel(*parallel_lines(known_study(factorial().head(30)))).data[0].line.colorscale
    minimised = interactive_parallel(*parallel_lines(loss_study)).data[0].line.colorscale
    assert [colour for _, colour in minimised] == [colour for _, colour in maximised][::-1]


def test_the_page_treats_the_lowest_value_as_the_best(loss_study, tmp_path):
    trials = build(loss_study, tmp_path).data["trials"]
    assert trials[-1]["result"] == loss_study.trials["best_val_acc"].min()
    assert build(loss_study, tmp_path).data["metric"] == "lowest val/error"
