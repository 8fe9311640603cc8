"""The sections that compare trials at an equal budget: importance by method, effects of values, interactions."""

import pandas as pd
import plotly.graph_objects as go

from analysis.comparable import Sample
from analysis.figures import effects
from analysis.figures.contour import MAX_PAIRS, interactive_contour, pair_means
from analysis.figures.importance import plot_importance
from analysis.report.budget_results import BudgetResults, require_results
from analysis.report.document import Item, ReportFigure, Section, Table, section
from analysis.stats.effects import pairwise_effects, value_effects
from analysis.stats.importance import describe_r2
from analysis.stats.interaction import interactions, pair_table
from analysis.stats.partial_dependence import partial_dependence
from analysis.stats.slices import MIN_TRIALS, samples_at_budgets
from analysis.study import StudyData

SIGNIFICANT = 0.05
CHOOSE = (
    ", unless another budget is chosen above the chart. Of two numbers with many values it shows a surface: a weighted "
    "mean of the trials nearby, which are its dots, and empty where none is near"
)
MAX_OPEN_ROWS = 12  # longer tables are folded


def equal_budget_sections(study: StudyData, results: BudgetResults | str) -> list[Section]:
    """The sections in the order of the page."""
    return [
        section("importance", "Importance", lambda: _importance(require_results(results))),
        section("effects", "Effects", lambda: _effects(require_results(results))),
        section("interactions", "Interactions", lambda: _interactions(study, require_results(results))),
    ]


def _importance(results: BudgetResults) -> list[Item]:
    names = ", ".join(results.top) or "none"
    alt = f"Importance with 95 % intervals by four methods. Most important by permutation: {names}."
    caption = (
        f"Dots: importance {results.sample.within}; lines: 95 % intervals. The hyperparameters are ordered by "
        "permutation importance."
    )
    finding = f"{results.ranking} Compared at an equal budget: {results.sample.budget_text}."
    if not results.importance["importance"].notna().any():
        return [finding]
    return [
        finding,
        "Impurity, fANOVA and PED-ANOVA are shares that sum to 1, so noise gets a share too. Permutation is the R² "
        "lost when a hyperparameter is shuffled; for noise it is near 0. PED-ANOVA measures what sets the best trials "
        "apart.",
        ReportFigure(
            "importance",
            "Importance by four methods",
            alt,
            plot_importance(results.importance)[0],
            caption,
            data=results.importance,
        ),
        Table("importance", "Importance by method", results.importance, folded=True),
    ]


def _effects(results: BudgetResults) -> list[Item]:
    table, pairs = value_effects(results.sample), pairwise_effects(results.sample)
    different = pairs[pairs["adjusted_p_holm"].lt(SIGNIFICANT)]
    note = f"{len(different)} of {len(pairs)} pairs of values differ after Holm's correction."
    return [
        f"{_effects_finding(pairs, different)}; {results.sample.budget_text}).",
        *([results.at_end] if results.at_end else []),
        *_effects_figure(results, table),
        Table("values", "Each value: plain mean, median, best, and adjusted effect", table, folded=True),
        Table("different", "Pairs of values that differ", different, note, folded=len(different) > MAX_OPEN_ROWS),
        Table("pairs", "All pairs of values", pairs, folded=True),
    ]


def _effects_figure(results: BudgetResults, table: pd.DataFrame) -> list[Item]:
    """The figure of the adjusted effects and how to read it; nothing if there are no adjusted effects."""
    known = int(table["adjusted"].notna().sum())
    if not known:
        return []
    figure = effects.plot_effects(table, None, results.metric_name, results.sample.sign)
    alt = f"Adjusted effects of {known} values of the hyperparameters with 95 % intervals."
    return [
        "The figure shows how much better each value is than the other values of its hyperparameter, with the other "
        "hyperparameters held fixed. Grey intervals include 0. Each interval is for its value alone; the pairs below "
        "are corrected for their number. A Bayesian search tries good regions more often, so plain means mix the "
        "effect of a value with the effects of the values it was tried with; adjusted effects separate them.",
        ReportFigure(
            "effects",
            "Adjusted effect of each value",
            alt,
            figure,
            f"Adjusted effect of each value {results.sample.within} with its 95 % interval; n: trials.",
            data=table,
        ),
    ]


def _effects_finding(pairs: pd.DataFrame, different: pd.DataFrame) -> str:
    """The clearest difference between two values, without the closing bracket."""
    if not pairs["adjusted"].notna().any():
        return "The effects of single values are unknown (too few trials to hold the other hyperparameters fixed"
    share = f"{len(different)} of {len(pairs)} pairs of values differ after Holm's correction"
    if not len(different):
        return f"No value is significantly better than another ({share}"
    best = different.loc[different["adjusted_p_holm"].idxmin()]
    return (
        f"The clearest effect is {best['parameter']}={best['value']} against {best['other']} ({best['adjusted']:+.3f}, "
        f"95 % interval {best['adjusted_low']:.3f} to {best['adjusted_high']:.3f}; {share}"
    )


def _interactions(study: StudyData, results: BudgetResults) -> list[Item]:
    return [*_strongest_pair(study, results), *_dependence(results)]


def _strongest_pair(study: StudyData, results: BudgetResults) -> list[Item]:
    pairs = interactions(results.sample)
    tested = pairs[pairs["p"].notna()]
    budget = results.sample.budget_text
    if not len(tested):
        return [f"No pair of hyperparameters has enough trials to test for an interaction ({budget})."]
    first, second, p = tested.iloc[0][["first", "second", "p_holm"]]
    evidence = f"p = {p:.2g}, corrected for {len(tested)} pairs; {budget}"
    finding = (
        f"{first} and {second} interact: their joint effect is not the sum of their effects ({evidence})."
        if p < SIGNIFICANT
        else f"No pair of hyperparameters interacts significantly; the strongest is {first} and {second} ({evidence})."
    )
    table = pair_table(results.sample, first, second)
    alt = f"Mean {results.metric_name} for each pair of values of {first} and {second}, with the number of trials."
    choices = _choices(study, results, pairs)
    caption = f"Mean {results.metric_name} and number of trials (n) of each pair of values, {results.sample.within}"
    return [
        finding,
        ReportFigure(
            "interaction",
            "Two hyperparameters together",
            alt,
            effects.plot_interaction(table, None, results.metric_name),
            f"{caption}{CHOOSE if choices else ''}.",
            _chosen_pair(results, *choices) if choices else None,
            pair_means(*choices) if choices else table,
        ),
        Table("pair", f"{first} and {second}", table, folded=True),
        Table("interactions", "All pairs of hyperparameters", pairs, folded=True),
    ]


def _choices(
    study: StudyData, results: BudgetResults, pairs: pd.DataFrame
) -> tuple[list[Sample], list[tuple[str, str]]] | None:
    """The budgets and pairs among which the user of the page chooses, the strongest pair first; None for few trials."""
    if len(results.sample) < MIN_TRIALS:
        return None
    named = list(zip(pairs["first"], pairs["second"], strict=True))
    return samples_at_budgets(study, results.sample), named[:MAX_PAIRS]


def _chosen_pair(results: BudgetResults, samples: list[Sample], pairs: list[tuple[str, str]]) -> go.Figure:
    return interactive_contour(samples, samples.index(results.sample), pairs)


def _dependence(results: BudgetResults) -> list[Item]:
    table = partial_dependence(results.sample, results.top)
    if not len(table):
        return []
    alt = f"Partial dependence of {results.metric_name} on {', '.join(results.top)}, with intervals."
    caption = f"Partial dependence of the most important hyperparameters {results.sample.within}, with 95 % intervals."
    return [
        "Partial dependence is what a random forest predicts on average if all trials had one value. It is only as "
        f"good as the forest ({describe_r2(results.forest)}).",
        ReportFigure(
            "dependence",
            "Partial dependence",
            alt,
            effects.plot_dependence(table, None, results.metric_name)[0],
            caption,
            data=table,
        ),
        Table("dependence", "Partial dependence", table, folded=True),
    ]
