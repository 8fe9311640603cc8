"""Whether the validation loss of a trial falls steadily, as a column that claims can use.

The eighth takeaway published for nature_12K is about it. An unsteady loss is a symptom, not a setting: if unsteady
trials generalise worse, that does not tell what made them unsteady, beyond the hyperparameters that the comparison
holds fixed.
"""

from dataclasses import replace

import pandas as pd

from analysis.budgets import epochs_of, rungs
from analysis.claims.grammar import ClaimError
from analysis.comparable import Sample, sample_at
from analysis.schema import EPOCH, TRIAL_ID, VAL_LOSS
from analysis.study import StudyData

UNSTEADY = "unsteady_val_loss"
MIN_EPOCHS = 5  # shorter curves do not show whether the loss is steady
MIN_TRIALS = 20  # with curves of the same length


def total_rise(history: pd.DataFrame, epochs: int) -> pd.Series:
    """The sum of all increases of the validation loss from one epoch to the next, within ``epochs``, by trial_id."""
    rows = history[history[EPOCH].le(epochs)].sort_values([TRIAL_ID, EPOCH], kind="stable")
    steps = rows[VAL_LOSS].groupby(rows[TRIAL_ID]).diff()
    return steps.clip(lower=0).groupby(rows[TRIAL_ID]).sum(min_count=1)


def sample_with_loss_stability(study: StudyData, sample: Sample) -> Sample:
    """The trials with complete curves and the column UNSTEADY: whether their loss rose more than the median trial's.

    The curves end at the last rung that at least MIN_TRIALS trials reached, or at the budget of ``sample`` if that is
    later. Raises ClaimError if there is no such rung.
    """
    reached = {epochs: int(epochs_of(study.trials).ge(epochs).sum()) for epochs in rungs(study)}
    usable = [epochs for epochs, trials in reached.items() if trials >= MIN_TRIALS and epochs >= MIN_EPOCHS]
    if not usable or study.history[VAL_LOSS].isna().all():
        raise ClaimError(f"{UNSTEADY} needs {MIN_TRIALS} trials with validation losses for {MIN_EPOCHS} or more epochs")
    longer = sample_at(study, max(*usable, sample.epochs or 0))
    trials = longer.trials[epochs_of(longer.trials).ge(longer.epochs)]
    rise = trials[TRIAL_ID].map(total_rise(study.history, longer.epochs or 0))
    known = rise.notna()
    unsteady = rise[known].gt(rise[known].median())
    names = [*longer.parameters, UNSTEADY]
    return replace(longer, trials=trials[known].assign(**{UNSTEADY: unsteady}), parameters=names, ended_earlier=0)
