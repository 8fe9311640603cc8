"""The sections that correspond to W&B's panels: parallel coordinates, importance and correlation, curves."""

import pandas as pd

from analysis.comparable import best_trials
from analysis.figures import curves, parallel
from analysis.figures.importance import plot_wandb_panel
from analysis.nothing_to_compare import no_result
from analysis.report.budget_results import BudgetResults, require_results
from analysis.report.document import Item, ReportFigure, Section, Table, first_columns, section
from analysis.schema import BEST_VAL_ACC, EPOCHS, NAME, STATE, TRIAL_ID
from analysis.stats.importance import wandb_panel
from analysis.study import StudyData
from analysis.wording import counted

BEST_ROWS = 10


def wandb_panel_sections(study: StudyData, results: BudgetResults | str) -> list[Section]:
    """The sections in the order of W&B's report."""
    return [
        section("trials", "All trials", lambda: _all_trials(study)),
        section("panel", "W&B panel", lambda: _panel(require_results(results))),
        section("time", "Over time", lambda: _over_time(study)),
    ]


def _all_trials(study: StudyData) -> list[Item]:
    lines, ticks = parallel.parallel_lines(study)
    if not len(lines):
        raise no_result(study)
    ranked = int(study.trials[BEST_VAL_ACC].notna().sum())
    names, result = ", ".join(lines.columns[:-2]), lines.iloc[:, -1]
    span = f"between {result.min():.4g} and {result.max():.4g}"
    alt = (
        f"Parallel coordinates: one line for each of {counted(len(lines), 'trial')} through {names}, {study.unit}s and "
        f"{result.name}, which lies {span}."
    )
    shown = f"the best {len(lines):,} of {ranked:,} trials" if len(lines) < ranked else counted(len(lines), "trial")
    best = best_trials(study, BEST_ROWS).drop(columns=NAME)  # the name repeats the hyperparameters
    best = best.rename(columns={BEST_VAL_ACC: result.name})
    if len(lines) == 1:
        return [f"The only result is {result.iloc[0]:.4g} ({result.name}).", Table("best", "The only trial", best)]
    figure, interactive = parallel.plot_parallel(lines, ticks), parallel.interactive_parallel(lines, ticks)
    return [
        f"The results lie {span} ({result.name}, {shown}). Each line is one trial, coloured by its best result. "
        f"Stopped trials trained for fewer {study.unit}s: select a range of {study.unit}s to compare like with like.",
        ReportFigure(
            "parallel",
            "All trials, hyperparameters to result",
            alt,
            figure,
            _how_placed(ticks),
            interactive,
            first_columns(shown_trials(study, lines)),
        ),
        Table("best", f"The {len(best)} best trials", best),
    ]


def shown_trials(study: StudyData, lines: pd.DataFrame) -> pd.DataFrame:
    """The rows of trials.csv behind the ``lines``, the best first: hyperparameters, epochs, state and result."""
    rows = study.trials.set_index(TRIAL_ID).loc[lines.index[::-1]].reset_index()
    return rows[[TRIAL_ID, NAME, STATE, *lines.columns[:-2], EPOCHS, BEST_VAL_ACC]].rename(
        columns={EPOCHS: f"{study.unit}s", BEST_VAL_ACC: lines.columns[-1]}
    )


def _how_placed(ticks: pd.DataFrame) -> str:
    """That lines do not cross the axis exactly at their value, if that is so for an axis."""
    axes = (
        ticks.loc[ticks["kind"].eq(parallel.LEVELS), "axis"].drop_duplicates().map(lambda name: name.replace("_", " "))
    )
    if not len(axes):
        return ""
    return (
        f"The labels of {', '.join(axes)} are evenly spaced, and lines through the same label are spread around it so "
        "that each can be seen."
    )


def _panel(results: BudgetResults) -> list[Item]:
    table = wandb_panel(results.sample, results.forest)
    first = table.iloc[0]["column"] if len(table) else "none"
    alt = f"Bars of importance and of Pearson's correlation for {len(table)} columns; the most important is {first}."
    caption = "Lines on the bars of the correlation are bootstrap 95 % intervals."
    columns = Table("columns", "Importance, Pearson's and Spearman's correlation of each column", table, folded=True)
    if not table["pearson_low"].notna().any():  # two or three trials, whose correlations are chance
        return [f"Importance and correlation are unknown ({results.sample.budget_text}).", columns]
    return [
        f"{_panel_finding(table)}The figure corresponds to W&B's panel: impurity importance of a random forest and "
        "Pearson's correlation, with one column per value of a category. Unlike W&B's panel it compares the trials at "
        f"an equal budget ({results.sample.budget_text}) and has intervals. Neither measure shows causes.",
        ReportFigure(
            "panel", "Importance and correlation, as in W&B", alt, plot_wandb_panel(table)[0], caption, data=table
        ),
        columns,
    ]


def _panel_finding(table: pd.DataFrame) -> str:
    """The most important column and the strongest correlation; nothing if they are unknown."""
    known = table.dropna(subset=["importance", "pearson_low"])
    if not len(known):
        return ""
    top, strongest = known.iloc[0], known.loc[known["pearson"].abs().idxmax()]
    return (
        f"{top['column']} is the most important column (impurity importance {top['importance']:.2f}), and "
        f"{strongest['column']} has the strongest correlation ({strongest['pearson']:+.2f}, 95 % interval "
        f"{strongest['pearson_low']:.2f} to {strongest['pearson_high']:.2f}). "
    )


def _over_time(study: StudyData) -> list[Item]:
    points, lines = curves.created_points(study), curves.epoch_curves(study)
    if not len(points):
        raise no_result(study)
    best = points["best_so_far"].iloc[-1]
    position = int(points["best_so_far"].eq(best).idxmax())
    dots = counted(len(points), "trial")
    alt = f"Results of {dots} by the time of their creation; the best result so far ends at {best:.4f}."
    caption = "One dot per trial, coloured by its state; the line is the best result so far."
    items: list[Item] = [
        f"The best result is {best:.4f} (trial {points.at[position, TRIAL_ID]}, number {position + 1} of "
        f"{len(points)} in the order of creation)."
        if len(points) > 1
        else f"The only result is {best:.4f} (trial {points.at[0, TRIAL_ID]}).",
        ReportFigure(
            "created",
            "Result of each trial",
            alt,
            curves.plot_created(points),
            caption,
            curves.interactive_created(points, study.unit),
            first_columns(points.drop(columns=["known", "label"])),
        ),
    ]
    metrics = ", ".join(curves.TITLES.get(metric, metric) for metric in curves.known_metrics(lines))
    if not metrics:
        return [*items, "The study has no curves."]
    return [*items, _curves(lines, metrics, len(points), study.unit)]


def _curves(lines: pd.DataFrame, metrics: str, total: int, unit: str) -> ReportFigure:
    trials = lines[TRIAL_ID].nunique()
    best_id = lines.loc[lines["best"], TRIAL_ID].iloc[0]
    axes = f"{metrics} against {unit}s for {counted(trials, 'trial')}"
    alt = f"Curves of {axes}; the best trial, {best_id}, is highlighted."
    sample = f"{trials:,} of {total:,} trials, evenly spread over the ranking" if trials < total else "all trials"
    sample = "the only trial" if total == 1 else sample
    caption = f"Curves of {sample}; the best trial, {best_id}, in orange."
    return ReportFigure(
        "curves",
        "Curves of all trials",
        alt,
        curves.plot_curves(lines, None, unit)[0],
        caption,
        curves.interactive_curves(lines, unit),
        first_columns(lines.drop(columns="best")),
    )
