"""Compare trials at an equal budget: by the results that they reached within the same number of epochs.

Early stopping ends most trials after a few epochs, and a Bayesian search gives the long trainings to the settings that
it prefers. Final results therefore compare budgets as much as settings. Every comparison in this package uses one
budget and names it. At the first rung all trials can be compared. At a later rung only the trials that ASHA kept can be
compared; bad settings then look better than they are, because only their luckiest trials are left.
"""

from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from analysis.budgets import NEARLY_ALL, check_budget, common_epoch, epochs_of
from analysis.nothing_to_compare import no_result
from analysis.objective import objective_named
from analysis.readers.frames import MODE_SIGNS, Mode
from analysis.schema import (
    BEST_VAL_ACC,
    COMPLETED,
    EPOCH,
    EPOCHS,
    FAILED,
    FOLD_TRIAL_COLUMNS,
    FOLDS_DONE,
    NAME,
    STATE,
    TRIAL_ID,
    VAL_ACC,
)
from analysis.stats.encode import is_number, varying_parameters
from analysis.stats.resampling import Array
from analysis.study import StudyData
from analysis.wording import counted

ACCURACY = "accuracy"  # column of a sample: a trial's best result within the budget, whatever the metric
MAX_TEXT_VALUES = 20  # a text parameter with more values, such as a folder per trial, cannot be compared


@dataclass(frozen=True, slots=True)
class Sample:
    """The trials that can be compared at one budget. ``sample_at`` creates it.

    - ``trials``: their rows, with the column ACCURACY in the metric's own sign.
    - ``parameters``: the hyperparameters that vary among them.
    - ``epochs``: the budget. None if the study has no curves: then ACCURACY is each trial's best result at whatever
      number of epochs it trained.
    - ``total``: number of trials in the study that have a result.
    - ``ended_earlier``: number of trials that ran out of patience before ``epochs``; they keep the best result that
      they reached.
    - ``metric``, ``mode``, ``unit``: those of the study.
    - ``excluded``: parameters left out because they have more than MAX_TEXT_VALUES different texts.
    """

    trials: pd.DataFrame
    parameters: list[str]
    epochs: int | None
    total: int
    ended_earlier: int = 0
    metric: str = BEST_VAL_ACC
    mode: Mode = "max"
    unit: str = "epoch"
    excluded: list[str] = field(default_factory=list)

    @property
    def sign(self) -> int:
        """1 if higher values of ACCURACY are better, -1 if lower ones are."""
        return MODE_SIGNS[self.mode]

    def __len__(self) -> int:
        return len(self.trials)

    @property
    def within(self) -> str:
        """The budget alone, for captions.

        >>> sample_at(study, epochs=9).within
        'within 9 epochs'
        """
        return "at unequal budgets" if self.epochs is None else f"within {counted(self.epochs, self.unit)}"

    @property
    def budget_text(self) -> str:
        """The budget and the number of trials in words, to print with every table.

        >>> sample_at(study, epochs=9).budget_text[:56]
        'best validation accuracy within 9 epochs, 30 of 60 trial'
        """
        best = describe_metric(self.metric, self.mode)
        if self.epochs is None:
            return f"{best} of {counted(len(self), 'trial')} at unequal budgets: the study has no curves"
        text = f"{best} within {counted(self.epochs, self.unit)}, {len(self)} of {counted(self.total, 'trial')}"
        if self.ended_earlier:
            text += f", {self.ended_earlier} of which ran out of patience earlier"
        if len(self) < NEARLY_ALL * self.total:
            text += "; the other trials were stopped, failed or are running, so bad settings look better than they are"
        if self.excluded:
            text += f"; without {', '.join(self.excluded)}, with more than {MAX_TEXT_VALUES} different texts each"
        return text


def is_accuracy(metric: str) -> bool:
    """Whether the metric is the validation accuracy of a study directory."""
    return metric in (BEST_VAL_ACC, VAL_ACC)


def axis_name(metric: str) -> str:
    """The name of a metric on the axes of figures."""
    objective = objective_named(metric)
    return objective.short if objective else "accuracy" if is_accuracy(metric) else metric


def describe_metric(metric: str, mode: Mode) -> str:
    """The best value of a metric in words: "best validation accuracy", "lowest val/loss", "best validation macro F1".

    >>> describe_metric("val/loss", "min")
    'lowest val/loss'
    """
    if (objective := objective_named(metric)) and objective.mode == mode:
        return f"{'best' if mode == 'max' else 'lowest'} {objective.label}"
    if mode == "max":
        return "best validation accuracy" if is_accuracy(metric) else f"highest {metric}"
    return f"lowest {metric}"


def best_so_far(history: pd.DataFrame, mode: Mode) -> pd.DataFrame:
    """Sort ``history`` by trial and epoch, and add best_val_acc: the best val_acc of the trial up to each epoch.

    >>> best_so_far(study.history, study.mode)["best_val_acc"].head(3).tolist()
    [0.1389, 0.3299, 0.5451]
    """
    ordered = history.sort_values([TRIAL_ID, EPOCH], kind="stable")
    values = mask_infinite(ordered[VAL_ACC]).groupby(ordered[TRIAL_ID])
    best = values.cummax() if mode == "max" else values.cummin()
    return ordered.assign(**{BEST_VAL_ACC: best.groupby(ordered[TRIAL_ID]).ffill()})


def best_value(values: Array, sample: Sample) -> float:
    """The best of some ACCURACY values of ``sample``."""
    return float(sample.sign * np.max(sample.sign * values))


def mask_infinite(values: pd.Series) -> pd.Series:
    """Replace infinite values by NaN: the infinite loss of a diverged trial is not a result."""
    return values.where(np.isfinite(values))


def accuracy_within(study: StudyData, epochs: int) -> pd.Series:
    """The best val_acc of each trial within its first ``epochs``, by trial_id, also of trials that trained less.

    >>> float(accuracy_within(study, epochs=3)["t0001"])
    0.941
    """
    rows = study.history[study.history[EPOCH].le(epochs)]
    return mask_infinite(rows[VAL_ACC]).groupby(rows[TRIAL_ID]).agg(study.mode).dropna()


def sample_at(study: StudyData, epochs: int | None = None) -> Sample:
    """The trials of ``study`` that can be compared within ``epochs``, by default ``common_epoch(study)``.

    A trial is included if it trained for ``epochs``, or if it ran out of patience earlier. What happened
    after that epoch does not matter. Raises ValueError if no trial has a result, or no trial trained for ``epochs``.

    >>> sample = sample_at(study)
    >>> sample.budget_text
    'best validation accuracy within 3 epochs, 60 of 60 trials'
    """
    trials = study.trials
    if not len(study.history):
        usable = trials[mask_infinite(trials[BEST_VAL_ACC]).notna() & trials[STATE].ne(FAILED)]
        usable = usable.assign(**{ACCURACY: usable[BEST_VAL_ACC]})
        total = int(mask_infinite(trials[BEST_VAL_ACC]).notna().sum())
        return _finished(study, Sample(usable, study.parameters, None, total, 0, study.metric, study.mode, study.unit))
    epochs = check_budget(study, epochs) or common_epoch(study)
    accuracy = trials[TRIAL_ID].map(accuracy_within(study, epochs))
    reached = epochs_of(trials).ge(epochs)
    out_of_patience = trials[STATE].eq(COMPLETED) & ~reached
    included = accuracy.notna() & (reached | out_of_patience)
    total = int((trials[BEST_VAL_ACC].notna() | accuracy.notna()).sum())
    rows = trials[included].assign(**{ACCURACY: accuracy[included]})
    ended_earlier = int((included & out_of_patience).sum())
    named = study.metric, study.mode, study.unit
    return _finished(study, Sample(rows, study.parameters, epochs, total, ended_earlier, *named))


def _finished(study: StudyData, sample: Sample) -> Sample:
    """Keep the parameters that vary and can be compared; raise ValueError if there is no trial."""
    if not len(sample):
        raise no_result(study)
    names = varying_parameters(sample.trials, sample.parameters)
    excluded = [
        name
        for name in names
        if not is_number(sample.trials[name]) and sample.trials[name].map(str).nunique() > MAX_TEXT_VALUES
    ]
    return replace(sample, parameters=[name for name in names if name not in excluded], excluded=excluded)


def best_trials(study: StudyData, n: int = 10) -> pd.DataFrame:
    """The ``n`` trials with the best results and their hyperparameters, each at the budget that it had.

    The best of many trials is partly luck: trained again, it will usually do worse.

    >>> best_trials(study, n=3)[["trial_id", "best_val_acc", "batch_norm"]].values.tolist()
    [['t0008', 0.9896, True], ['t0016', 0.9861, True], ['t0032', 0.9861, True]]
    """
    trials = study.trials[mask_infinite(study.trials[BEST_VAL_ACC]).notna() & study.trials[STATE].ne(FAILED)]
    order = best_first(study, trials)[:n]
    folds = [name for name in FOLD_TRIAL_COLUMNS if name in trials]
    columns = [TRIAL_ID, NAME, STATE, BEST_VAL_ACC, *folds, EPOCHS]
    return trials.loc[order, [*columns, *varying_parameters(study.trials, study.parameters)]].reset_index(drop=True)


def best_first(study: StudyData, trials: pd.DataFrame) -> pd.Index:
    """The index of ``trials``, best result first; with folds, those with more of them before those with fewer.

    >>> study.trials.loc[best_first(study, study.trials)[:2], "trial_id"].tolist()
    ['t0008', 't0016']
    """
    keys = pd.DataFrame({BEST_VAL_ACC: study.sign * trials[BEST_VAL_ACC]})
    names = [BEST_VAL_ACC]
    if FOLDS_DONE in trials:
        keys, names = keys.assign(**{FOLDS_DONE: trials[FOLDS_DONE].fillna(0)}), [FOLDS_DONE, BEST_VAL_ACC]
    return keys.sort_values(names, ascending=False, kind="stable").index
