"""What several sections of a report need, computed once."""

from dataclasses import dataclass

import pandas as pd

from analysis.comparable import Sample, outcome_name, sample_at
from analysis.stats.forest import ForestResult, forest_importance
from analysis.stats.importance import importance, top_parameters, verdict
from analysis.stats.partial_dependence import TOP
from analysis.study import Study


@dataclass(frozen=True, slots=True)
class Findings:
    """The trials of one budget, the forest that was grown on them, and what it and Optuna find important."""

    sample: Sample
    forest: ForestResult
    importance: pd.DataFrame

    @property
    def top(self) -> list[str]:
        """The hyperparameters that matter most by permutation importance, at most TOP."""
        return top_parameters(self.importance, TOP)

    @property
    def outcome(self) -> str:
        """What is compared, as it stands on axes."""
        return outcome_name(self.sample.metric)

    @property
    def verdict(self) -> str:
        """Whether the data can say what mattered."""
        return verdict(self.forest, len(self.sample))


def find(study: Study, epochs: int | None = None) -> Findings:
    """Compare the trials within ``epochs``; ValueError if no trial has an accuracy, or none trained so long."""
    sample = sample_at(study, epochs)
    forest = forest_importance(sample)
    return Findings(sample, forest, importance(sample, forest))


def needed(found: Findings | str) -> Findings:
    """The findings, or ValueError why there is nothing to compare."""
    if isinstance(found, str):
        raise ValueError(found)
    if not found.sample.parameters:
        raise ValueError(f"no hyperparameter varies among the {len(found.sample)} trials that can be compared")
    return found
