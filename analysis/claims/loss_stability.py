"""Whether the validation loss of a trial falls steadily: the predecessor's eighth takeaway as a column.

It is a symptom, not a setting: that unsteady trials generalise worse says nothing about what made them unsteady, beyond
the hyperparameters that the comparison holds fixed.
"""

from dataclasses import replace

import pandas as pd

from analysis.claims.grammar import ClaimError
from analysis.comparable import Sample, rungs, sample_at
from analysis.schema import EPOCH, EPOCHS, TRIAL_ID, VAL_LOSS
from analysis.study import Study

UNSTEADY = "unsteady_val_loss"
SHORTEST = 5  # epochs; shorter curves have no late part
FEWEST = 20  # trials with whole curves


def rises(history: pd.DataFrame, epochs: int) -> pd.Series:
    """By how much the validation loss rose within ``epochs``, all rises from one epoch to the next added up."""
    rows = history[history[EPOCH].le(epochs)].sort_values([TRIAL_ID, EPOCH], kind="stable")
    steps = rows[VAL_LOSS].groupby(rows[TRIAL_ID]).diff()
    return steps.clip(lower=0).groupby(rows[TRIAL_ID]).sum(min_count=1)


def unsteady_sample(study: Study, sample: Sample) -> Sample:
    """Trials with a whole curve, and UNSTEADY: whether their loss rose more than that of half of them.

    The curves are those of the last rung that at least FEWEST trials reached, or of the budget of ``sample`` if that is
    longer. ClaimError if there is none.
    """
    reached = {epochs: int(study.trials[EPOCHS].ge(epochs).sum()) for epochs in rungs(study)}
    usable = [epochs for epochs, trials in reached.items() if trials >= FEWEST and epochs >= SHORTEST]
    if not usable or study.history[VAL_LOSS].isna().all():
        raise ClaimError(f"{UNSTEADY} needs {FEWEST} trials with validation losses of {SHORTEST} epochs or more")
    longer = sample_at(study, max(*usable, sample.epochs or 0))
    trials = longer.trials[longer.trials[EPOCHS].ge(longer.epochs)]
    rise = trials[TRIAL_ID].map(rises(study.history, longer.epochs or 0))
    known = rise.notna()
    unsteady = rise[known].gt(rise[known].median())
    names = [*longer.parameters, UNSTEADY]
    return replace(longer, trials=trials[known].assign(**{UNSTEADY: unsteady}), parameters=names, carried=0)
