"""Whether the last training of a planned search, if it learnt from the validation images, gives the weights."""

from inat.constants import DIVERGED
from inat.study.cheaper import CostRule
from inat.study.journal import Journal
from inat.study.trial import Trial
from inat.tuning.chosen_model import Model

# The best epoch of the search is partly luck, and mixed or strongly augmented images are never learnt by heart: this
# share of the way from its value to the worst one is no failure. 0.95 is as good as 1, 0.665 as 0.7.
ALLOWED = 0.05


def chosen_trial(journal: Journal, rule: CostRule) -> Trial | None:
    """The trial that the search has chosen, whether its weights are kept or not; None without a result."""
    ranking = journal.ranking()
    return rule.as_good_as(ranking[0], ranking)[0] if ranking else None


def refit_problem(journal: Journal, rule: CostRule, last: Model) -> str:
    """Why the weights of the refit ``last`` are not used, as the end of a sentence about it; "" if they are.

    Such a training has no validation result. But if it is worse by more than ALLOWED at its end, on images that it has
    learnt, than the chosen trial was on images that it had not seen, something went wrong.
    """
    chosen, refit, objective = chosen_trial(journal, rule), last.trial, journal.objective
    if chosen is None or chosen.trial_id != last.trial_id:
        instead = "" if chosen is None else f", and {chosen.trial_id} has been chosen since"
        return f"repeats {last.trial_id}{instead}"
    if refit.finished == DIVERGED:
        return "diverged"
    at_the_end, before = refit.history[-1].get(objective.column, refit.best_value), chosen.best_value
    if at_the_end is None or before is None:
        return "has no result"
    if objective.reaches(at_the_end, before + ALLOWED * (objective.worst - before)):
        return ""
    return (
        f"ended with a {objective.label} of {at_the_end:.4f} on photos that it learnt from, where {chosen.trial_id} "
        f"had {before:.4f} on photos new to it"
    )
