"""The section about time and cost: the best result over time, and results against the cost of each trial."""

import pandas as pd

from analysis.comparable import Sample, describe_metric
from analysis.constant_answer import results_of
from analysis.costs.pareto import (
    EPOCH_SECONDS,
    NETWORKS,
    NO_BETTER,
    STOPPED_EARLY,
    WHOLE,
    WITHIN,
    cost_points,
    front_table,
)
from analysis.costs.progress import Progress, best_over_time
from analysis.figures.costs import first_words, interactive_costs, panels_of, plot_costs
from analysis.figures.progress import interactive_progress, plot_progress
from analysis.markdown import format_short_duration
from analysis.nothing_to_compare import no_result
from analysis.report.budget_results import BudgetResults
from analysis.report.document import Item, ReportFigure, Section, Table, first_columns, section
from analysis.schema import BEST_VAL_ACC, COMPLETED, EPOCHS, SECONDS, STATE, STOPPED, TRIAL_ID
from analysis.stats.encode import varying_parameters
from analysis.study import StudyData
from analysis.study_noise import compare_trials
from analysis.wording import counted, counted_as

OPTIMISTIC = "The best of many trials is too optimistic; the recipe is one training"
FRONT_NOTE = (
    "Each value is one training, so small differences between neighbours may be noise; seconds also depend on what "
    "else the machine did."
)


def costs_section(study: StudyData, results: BudgetResults | str) -> Section:
    """What the search gave for its time, and what each trial gave for its cost."""
    sample = results.sample if isinstance(results, BudgetResults) else None
    return section("cost", "Time and cost", lambda: [*_progress_items(study), *_cost_items(study, sample)])


def _progress_items(study: StudyData) -> list[Item]:
    if not len(results_of(study)):
        raise no_result(study)
    progress = best_over_time(study)
    label = describe_metric(study.metric, study.mode)
    alt = f"The best result so far ({label}) against the time of the search, which took {_length(progress)}."
    figure = plot_progress(progress, None, label)
    caption = progress_caption(progress)
    return [
        progress_finding(study, progress),
        ReportFigure(
            "progress",
            "Best result against the time of the search",
            alt,
            figure,
            caption,
            interactive_progress(progress, label),
            progress.steps,
        ),
    ]


def progress_finding(study: StudyData, progress: Progress) -> str:
    """What the search reached in its time, and when it passed the recipe."""
    best = float(progress.steps[BEST_VAL_ACC].iloc[-1])
    when = progress.steps.loc[progress.steps[BEST_VAL_ACC].eq(best).idxmax()]
    reached = f"after {format_short_duration(when['seconds'])} of {_length(progress)}"
    recipe = progress.recipe
    if recipe is None or pd.isna(recipe[BEST_VAL_ACC]):
        return f"The search reached {best:.4g} {reached} (trial {when[TRIAL_ID]})."
    own, trial = float(recipe[BEST_VAL_ACC]), recipe[TRIAL_ID]
    trained = "" if recipe[STATE] == COMPLETED else f", {recipe[STATE]} after {counted(recipe[EPOCHS], study.unit)}"
    if len(study.trials) == 1:
        return f"The only trial trained the recipe ({own:.4g}{trained}; {_length(progress)})."
    passed = progress.steps[(study.sign * progress.steps[BEST_VAL_ACC]).gt(study.sign * own)]
    if not len(passed):
        return (
            f"No trial was better than the recipe ({own:.4g}, trial {trial}{trained}; {_length(progress)} of search)."
        )
    return (
        f"The search ended {study.sign * (best - own):.4f} better than the recipe ({best:.4g}, trial {when[TRIAL_ID]}, "
        f"{reached}, against {own:.4g}, trial {trial}{trained}; first better after "
        f"{format_short_duration(passed['seconds'].iloc[0])}). {OPTIMISTIC}."
    )


def _length(progress: Progress) -> str:
    return format_short_duration(float(progress.steps["seconds"].iloc[-1]))


def progress_caption(progress: Progress) -> str:
    """What the figure shows, and what its time leaves out."""
    text = "Best result so far; each rise is an improvement on all earlier results."
    if progress.recipe is not None and pd.notna(progress.recipe[BEST_VAL_ACC]):
        text += " Dashed: the trial that trained the recipe, with a dot where it ended."
    if progress.constant == progress.constant:
        text += " Dotted: a constant answer."
    if progress.breaks:
        text += f" Interruptions of {format_short_duration(progress.breaks)} in total are left out of the time."
    if progress.without_time:
        text += f" {counted_as(progress.without_time, 'trial')} left out, without a recorded time."
    return text


def _cost_items(study: StudyData, sample: Sample | None) -> list[Item]:
    points = cost_points(study, sample)
    if not study.trials[STATE].isin([COMPLETED, STOPPED]).any():
        return ["No trial has ended yet, so costs cannot be compared."]
    if not len(points):
        return ["No trial that ended has a recorded time or number of parameters, so costs cannot be compared."]
    name = describe_metric(study.metric, study.mode)
    panels = panels_of(points, study.unit)
    alt = f"Results against costs, one dot per trial, with the Pareto front: {'; '.join(p.axis for p in panels)}."
    figure = ReportFigure(
        "costs", "Result against cost", alt,
        plot_costs(points, None, name, study.unit)[0], cost_caption(points, study.unit),
        interactive_costs(points, name, study.unit), first_columns(points),
    )  # fmt: skip
    return [cost_finding(study, points), figure, *_front_tables(study, points)]


def cost_finding(study: StudyData, points: pd.DataFrame) -> str:
    """How much of the best result the cheapest whole trainings have, or that no training ran to its end."""
    whole = points[points["compared"].eq(WHOLE) & points["cost_kind"].eq(SECONDS)]
    front = whole[whole["front"]].sort_values("cost", kind="stable")
    if not len(front):
        return "No training that ran to its end can be compared by its cost."
    best, compared = front.iloc[-1], int(whole["left_out"].eq("").sum())
    found = f"trial {best[TRIAL_ID]}, {best['result']:.4g} in {format_short_duration(best['cost'])}"
    evidence = f"{len(front)} of {counted(compared, 'whole training')} on the Pareto front"
    noise = compare_trials(study, best[TRIAL_ID], front[TRIAL_ID].tolist())
    if noise is None:
        cheaper = counted(len(front) - 1, "cheaper training")
        return f"The best whole training shares the front with {cheaper} ({found}; {evidence})."
    like = front[front[TRIAL_ID].isin(noise.untold)]
    if len(like):
        cheap, photos = like.iloc[0], counted(noise.images, "validation photo")
        return (
            f"Trial {cheap[TRIAL_ID]} cannot be told from the best for {cheap['cost'] / best['cost']:.0%} of its time "
            f"({cheap['result']:.4g} in {format_short_duration(cheap['cost'])}; best: {found}; {photos}; {evidence})."
        )
    return f"Every cheaper training can be told from the best one, which is better ({found}; {evidence})."


def cost_caption(points: pd.DataFrame, unit: str) -> str:
    """What each panel compares, and why some trials are not on the front."""
    text = f"Whole trainings: trials that ended by themselves, at the last {unit} or by their patience."
    if points["left_out"].eq(STOPPED_EARLY).any():
        text += (
            " Trials that were stopped early (grey rings) are not on that front: they are cheap because they were "
            "stopped, and might have improved."
        )
    if points["compared"].eq(NETWORKS).any():
        text += (
            " All networks: each trial with the network that it has, stopped or not, by a cost that does not depend on "
            "its epochs; best.json and the summary of the search have the front by --cost."
        )
    within = points[points["compared"].eq(WITHIN)]
    if len(within):
        budget = counted(within["epochs"].iloc[0], unit)
        text += (
            f" Within {budget}: all trials, stopped later or not, with the cost and the best result of their first "
            f"{first_words(within, unit)}; the best trial by then is not always the best at the end."
        )
    if points["left_out"].eq(NO_BETTER).any():
        text += " Trials no better than a constant answer, which costs nothing, are on no front."
    return text


def _front_tables(study: StudyData, points: pd.DataFrame) -> list[Item]:
    """The trials on each front; the first table is open."""
    parameters = varying_parameters(study.trials, study.parameters)
    tables: list[Item] = []
    for panel in panels_of(points, study.unit):
        frame = front_table(study, panel.points, parameters)
        if len(frame):
            kind = {SECONDS: "seconds", EPOCH_SECONDS: "epoch_seconds"}.get(
                panel.points["cost_kind"].iloc[0], "parameters"
            )
            name = f"front_{panel.points['compared'].iloc[0]}_{kind}"
            title = f"Pareto front of {panel.title} by {panel.axis}"
            tables.append(Table(name, title, frame, "" if tables else FRONT_NOTE, folded=bool(tables)))
    return tables
