"""The comparison of all trials at one budget, which several sections of a report share."""

from dataclasses import dataclass

import pandas as pd

from analysis.comparable import Sample, axis_name, sample_at
from analysis.early_stopping.late_effects import describe_ends
from analysis.stats.forest import ForestResult, forest_importance
from analysis.stats.importance import (
    describe_ranking,
    importance,
    nothing_varies,
    ranking_is_reliable,
    top_parameters,
)
from analysis.stats.partial_dependence import TOP
from analysis.study import StudyData


@dataclass(frozen=True, slots=True)
class BudgetResults:
    """The trials compared at one budget, the forest fitted to them, and the importance of each hyperparameter.

    ``at_end``: one line on whether verdicts at this budget hold at the last epoch; "" if that is the budget.
    """

    sample: Sample
    forest: ForestResult
    importance: pd.DataFrame
    at_end: str = ""

    @property
    def top(self) -> list[str]:
        """The TOP most important hyperparameters by permutation."""
        return top_parameters(self.importance, TOP)

    @property
    def metric_name(self) -> str:
        """The name of the metric on axes."""
        return axis_name(self.sample.metric)

    @property
    def reliable(self) -> bool:
        """Whether the ranking of the hyperparameters can be relied on."""
        return ranking_is_reliable(self.forest)

    @property
    def ranking(self) -> str:
        """One sentence on whether the ranking of the hyperparameters can be relied on."""
        return describe_ranking(self.forest, len(self.sample))


def compare_at_budget(study: StudyData, epochs: int | None = None) -> BudgetResults | str:
    """Compare the trials within ``epochs``; return the reason as text if no trials can be compared."""
    try:
        sample = sample_at(study, epochs)
    except ValueError as error:
        return str(error)
    forest = forest_importance(sample)
    return BudgetResults(sample, forest, importance(sample, forest), describe_ends(study))


def require_results(results: BudgetResults | str) -> BudgetResults:
    """Return the results; raise ValueError if there are none, or no hyperparameter varies."""
    if isinstance(results, str):
        raise ValueError(results)
    if not results.sample.parameters:
        raise nothing_varies(results.sample)
    return results
