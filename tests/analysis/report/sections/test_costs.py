from dataclasses import replace

import pandas as pd
import pytest

from analysis.comparable import sample_at
from analysis.costs.pareto import cost_points
from analysis.costs.progress import best_over_time
from analysis.report.document import ReportFigure, Table
from analysis.report.sections.costs import cost_caption, cost_finding, costs_section, progress_caption, progress_finding
from tests.analysis.studies import study_of

CURVES = [[0.5, 0.6, 0.7], [0.6, 0.702, 0.7], [0.9], [0.2, 0.3, 0.8]]
STATES = ["completed", "completed", "stopped", "completed"]


@pytest.fixture
def study():
    made = study_of([{"lr": 10.0**-i} for i in range(4)], CURVES, STATES)
    start = pd.Timestamp("2026-01-01", tz="UTC")
    created = [start + pd.Timedelta(seconds=s) for s in (0, 10, 20, 30)]
    return replace(made, trials=made.trials.assign(created=created), info={"recipe_params": {"lr": 0.1}})


def test_the_finding_says_by_how_much_and_when_the_search_passed_the_recipe(study):
    assert progress_finding(study, best_over_time(study)) == (
        "The search ended 0.1980 better than the recipe (0.9, trial t0002, after 22 s of 36 s, against 0.702, trial "
        "t0001; first better after 22 s). The best of many trials is too optimistic; the recipe is one training."
    )


def test_a_recipe_that_was_stopped_or_not_beaten_is_said_so(study):
    own = replace(study, info={"recipe_params": {"lr": 0.01}})
    assert progress_finding(own, best_over_time(own)) == (
        "No trial was better than the recipe (0.9, trial t0002, stopped after 1 epoch; 36 s of search)."
    )


def test_without_a_recipe_the_finding_is_about_the_best(study):
    bare = replace(study, info={})
    assert progress_finding(bare, best_over_time(bare)) == "The search reached 0.9 after 22 s of 36 s (trial t0002)."
    assert "recipe" not in progress_caption(best_over_time(bare))


def test_a_loss_that_fell_is_better(study):
    loss = replace(study, metric="val/loss", mode="min", trials=study.trials.assign(best_val_acc=[0.5, 0.6, 0.9, 0.2]))
    assert progress_finding(loss, best_over_time(loss)).startswith(
        "The search ended 0.4000 better than the recipe (0.2,"
    )


def test_the_caption_names_what_the_time_leaves_out(study):
    late = study.trials["created"].where(study.trials.index < 3, study.trials["created"] + pd.Timedelta(hours=2))
    trials = study.trials.assign(created=late)
    trials.loc[0, "seconds"] = float("nan")
    progress = best_over_time(
        replace(study, trials=trials, history=study.history[study.history["trial_id"].ne("t0000")])
    )
    caption = progress_caption(progress)
    assert "Interruptions of 2 h 0 min in total are left out of the time." in caption
    assert "1 trial is left out, without a recorded time." in caption


def test_a_training_as_good_for_less_is_the_finding_about_costs(study):
    trials = study.trials.assign(seconds=[3.0, 6.0, 1.0, 60.0], best_val_acc=[0.8, 0.702, 0.9, 0.803])
    study = replace(study, info=study.info | {"class_counts": {name: [25] * 4 for name in ("train", "val", "test")}})
    alike = replace(study, trials=trials)
    assert cost_finding(alike, cost_points(alike)) == (
        "Trial t0000 cannot be told from the best for 5% of its time (0.8 in 3 s; best: trial t0003, 0.803 in 1 min 0 "
        "s; 100 validation photos; 2 of 3 whole trainings on the Pareto front)."
    )
    dear = study.trials.assign(seconds=[3.0, 6.0, 1.0, 60.0], best_val_acc=[0.5, 0.6, 0.9, 0.803])
    apart = replace(study, trials=dear)
    assert cost_finding(apart, cost_points(apart)) == (
        "Every cheaper training can be told from the best one, which is better (trial t0003, 0.803 in 1 min 0 s; 3 of "
        "3 whole trainings on the Pareto front)."
    )
    fall = study.trials.assign(seconds=[3.0, 6.0, 1.0, 60.0])
    loss = replace(study, trials=fall, metric="val/loss", mode="min")
    assert cost_finding(loss, cost_points(loss)) == (
        "The best whole training shares the front with 0 cheaper trainings (trial t0000, 0.7 in 3 s; 1 of 3 whole "
        "trainings on the Pareto front)."
    )
    stopped = replace(study, trials=study.trials.assign(state="stopped"))
    assert cost_finding(stopped, cost_points(stopped)) == "No training that ran to its end can be compared by its cost."


def test_the_caption_says_what_is_compared(study):
    caption = cost_caption(cost_points(study, sample_at(study, 1)), "epoch")
    assert "Trials that were stopped early (grey rings) are not on that front" in caption
    assert "Within 1 epoch: all trials, stopped later or not" in caption
    assert "constant" not in caption
    whole = replace(study, trials=study.trials.assign(state="completed"))
    assert "stopped" not in cost_caption(cost_points(whole, sample_at(whole, 1)), "epoch")


def test_the_section_has_both_figures_and_the_fronts(study):
    seconds = study.trials.assign(seconds=[5.0, 6.0, 1.0, 60.0])
    items = costs_section(replace(study, trials=seconds), "no comparison").items
    assert [item.name for item in items if isinstance(item, ReportFigure)] == ["progress", "costs"]
    (table,) = (item for item in items if isinstance(item, Table))
    assert (table.name, table.folded) == ("front_whole_seconds", False)
    assert table.frame[["trial_id", "lr"]].values.tolist() == [["t0000", 1.0], ["t0001", 0.1], ["t0003", 0.001]]


def test_a_study_without_times_has_a_reason(study):
    bare = replace(study, trials=study.trials.assign(seconds=float("nan")), history=study.history.head(0))
    assert costs_section(bare, "no comparison").items == [
        "Not available for this study: no trial with a result has a recorded time."
    ]


def test_costs_wait_for_the_first_trial_that_ends(study):
    running = replace(study, trials=study.trials.assign(state="running"))
    assert costs_section(running, "no comparison").items[-1] == "No trial has ended yet, so costs cannot be compared."


def test_a_study_without_results_has_the_reason_of_the_other_sections(study):
    failed = replace(study, trials=study.trials.assign(state="failed"))
    (text,) = costs_section(failed, "no comparison").items
    assert text == "Not available for this study: all 4 trials failed; mend the cause and run them again."
