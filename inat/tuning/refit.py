"""Whether the last training of a planned search, if it learnt from the validation images, gives the weights."""

from collections.abc import Mapping
from typing import Any

from analysis.class_counts import constant_score
from analysis.wording import other_params
from inat.constants import DIVERGED
from inat.study.cheaper import CostRule
from inat.study.journal import Journal
from inat.study.trial import Trial
from inat.tuning.chosen_model import Model

# The best epoch of the search is partly luck, and mixed or strongly augmented images are never learnt by heart: this
# share of the way from its value to that of a constant answer is no failure. Of 10 classes, 0.955 is as good as 1.
ALLOWED = 0.05


def chosen_trial(journal: Journal, rule: CostRule) -> Trial | None:
    """The trial that the search has chosen, whether its weights are kept or not; None without a result."""
    ranking = journal.ranking()
    return rule.as_good_as(ranking[0], ranking)[0] if ranking else None


def refit_problem(journal: Journal, info: Mapping[str, Any], last: Model) -> str:
    """Why the weights of the refit ``last`` are not used, as the end of a sentence about it; "" if they are.

    ``info`` is the study.json of the search.

    Such a training has no validation result. But if it is worse by more than ALLOWED at its end, on images that it has
    learnt, than the chosen trial was on images that it had not seen, something went wrong.
    """
    chosen, refit, objective = chosen_trial(journal, CostRule.of(info)), last.trial, journal.objective
    if chosen is None or chosen.trial_id != last.trial_id:
        instead = "" if chosen is None else f", and {chosen.trial_id} has been chosen since"
        return f"repeats {last.trial_id}{instead}"
    if refit.finished == DIVERGED:
        return "diverged"
    at_the_end, before = refit.history[-1].get(objective.column, refit.best_value), chosen.best_value
    if at_the_end is None or before is None:
        return "has no result"
    constant = constant_score(info, objective.column)
    nothing_learnt = objective.worst if constant is None or not objective.reaches(before, constant) else constant
    if objective.reaches(at_the_end, before + ALLOWED * (nothing_learnt - before)):
        return ""
    return (
        f"ended with a {objective.label} of {at_the_end:.4f} on photos that it learnt from, where {chosen.trial_id} "
        f"had {before:.4f} on photos new to it"
    )


def describe_other_params(trial: Trial, refit: Trial) -> str:
    """Name the hyperparameters in which a refit differs from the trial that it repeats; "" if there are none."""
    other = other_params(trial.params, refit.params)
    return f", with {', '.join(other)}, as the recipe has it for so many epochs and photos" if other else ""
