"""The section with slices: results at one budget against each hyperparameter."""

import pandas as pd

from analysis.comparable import Sample
from analysis.figures.slices import MAX_DOTS, MAX_PANELS, interactive_slices, plot_slices, slice_table
from analysis.report.budget_results import BudgetResults, require_results
from analysis.report.document import Item, ReportFigure, Section, section
from analysis.stats.slices import MIN_TRIALS, samples_at_budgets
from analysis.study import StudyData

PERMUTATION = "permutation"
CHOOSE = ", unless another budget is chosen above the chart"


def slices_section(study: StudyData, results: BudgetResults | str) -> Section:
    """The results against each hyperparameter, at a budget that the user of the page chooses."""
    return section("slices", "Slices", lambda: _items(study, require_results(results)))


def _items(study: StudyData, results: BudgetResults) -> list[Item]:
    sample = results.sample
    if len(sample) < MIN_TRIALS:
        return [f"Too few trials for slices ({sample.budget_text}; {MIN_TRIALS} or more can show a pattern)."]
    names = ordered_parameters(results)
    shown = names[:MAX_PANELS]
    samples = samples_at_budgets(study, sample)
    figure = interactive_slices(samples, samples.index(sample), shown)
    left_out = f" The {len(shown)} first of {len(names)} hyperparameters." if len(shown) < len(names) else ""
    alt = f"Results {sample.within} against each of {', '.join(shown)}, one dot per trial."
    return [
        f"Each dot is one trial, at an equal budget: {sample.budget_text}.{_others(samples, sample)} Dots at one value "
        "differ in all other hyperparameters, too: the section Effects holds these fixed.",
        ReportFigure(
            "slices",
            "Result against each hyperparameter",
            alt,
            plot_slices(sample, shown),
            f"Result {sample.within}{CHOOSE if len(samples) > 1 else ''}, coloured by the order of creation. Where "
            f"late dots crowd, the search tried most. Dots at the same label are spread around it.{left_out}"
            f"{_thinned(sample)}",
            figure,
            pd.concat([slice_table(one, names) for one in samples], ignore_index=True),
        ),
    ]  # fmt: skip


def ordered_parameters(results: BudgetResults) -> list[str]:
    """The hyperparameters, the most important first if their ranking can be relied on."""
    names = results.sample.parameters
    if not results.reliable or not len(results.importance):
        return names
    known = results.importance[results.importance["method"].eq(PERMUTATION)].set_index("parameter")["importance"]
    return sorted(names, key=lambda name: -float(known.get(name, float("-inf"))))


def _others(samples: list[Sample], sample: Sample) -> str:
    if len(samples) == 1:
        return ""
    return (
        " Larger budgets can be chosen above the chart; they leave out the trials that were stopped before, so bad "
        "settings look better there than they are."
        if samples[0] is sample
        else " Other budgets can be chosen above the chart; each leaves out the trials that were stopped before."
    )


def _thinned(sample: Sample) -> str:
    return f" {MAX_DOTS:,} of {len(sample):,} trials, evenly over time." if len(sample) > MAX_DOTS else ""
