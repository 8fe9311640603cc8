"""Trials at equal budget: accuracies that were reached within the same number of epochs.

Early stopping ends most trials after a few epochs, and a Bayesian search spends the long trainings on settings that it
likes. Final accuracies therefore compare budgets as much as settings; every number of this package is taken at one
budget and says which. At the first rung all trials can be compared; at a later one only those that ASHA let live,
which makes bad settings look better than they are, as only their lucky trials are left.
"""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from analysis.readers.frames import SIGNS, Mode
from analysis.rungs import rung_milestones
from analysis.schema import BEST_VAL_ACC, COMPLETED, EPOCH, EPOCHS, FAILED, NAME, RUNNING, STATE, TRIAL_ID, VAL_ACC
from analysis.stats.encode import is_number, varying
from analysis.stats.resampling import Array
from analysis.study import Study

ACCURACY = "accuracy"  # of a trial at the budget of its sample
ALL_REACHED = 0.95  # share of the trials that counts as all of them: a few fail or are still running
MOST_LEVELS = 20  # different texts of a hyperparameter that can be compared; a name of each trial is none
PILE = 0.05  # share of the trials that must have ended at an epoch for it to be taken for a rung


@dataclass(frozen=True, slots=True)
class Sample:
    """The trials that can be compared at one budget.

    ``trials``: their rows, with ACCURACY; ``parameters``: the hyperparameters that vary among them; ``epochs``: the
    budget, None where the study has no curves and every trial counts with the best accuracy of whatever it trained;
    ``of``: the trials of the study with any accuracy; ``carried``: those that ended by themselves before ``epochs``,
    out of patience, and count with the best that they had. ``metric`` and ``mode`` are the study's; accuracies keep
    the metric's own sign, and where ``sign`` is -1 the least of them is the best. ``left_out``: parameters of more
    than MOST_LEVELS different texts, such as a folder of each trial.
    """

    trials: pd.DataFrame
    parameters: list[str]
    epochs: int | None
    of: int
    carried: int = 0
    metric: str = BEST_VAL_ACC
    mode: Mode = "max"
    left_out: list[str] = field(default_factory=list)

    @property
    def sign(self) -> int:
        """What accuracies are multiplied by for more to be better."""
        return SIGNS[self.mode]

    def __len__(self) -> int:
        return len(self.trials)

    @property
    def budget(self) -> str:
        """One sentence about the budget, to stand beside every table."""
        best = metric_name(self.metric, self.mode)
        if self.epochs is None:
            return f"{best} of {len(self)} trials at unequal budgets: the study has no curves"
        text = f"{best} within {self.epochs} epochs, {len(self)} of {self.of} trials"
        if self.carried:
            text += f" ({self.carried} of them out of patience before that)"
        if len(self) < ALL_REACHED * self.of:
            text += "; the others were stopped, failed or are running, so bad settings look better than they are"
        if self.left_out:
            text += f"; without {', '.join(self.left_out)}, with more than {MOST_LEVELS} different texts each"
        return text


def outcome_name(metric: str) -> str:
    """How a metric is called on axes."""
    return "accuracy" if metric in (BEST_VAL_ACC, VAL_ACC) else metric


def metric_name(metric: str, mode: Mode) -> str:
    """How the best value of a metric is called in sentences."""
    if mode == "max":
        return "best validation accuracy" if metric in (BEST_VAL_ACC, VAL_ACC) else f"highest {metric}"
    return f"lowest {metric}"


def best_so_far(history: pd.DataFrame, mode: Mode) -> pd.DataFrame:
    """``history`` in order of epochs, with the best val_acc up to each, by ``mode``, as best_val_acc."""
    ordered = history.sort_values([TRIAL_ID, EPOCH], kind="stable")
    values = finite(ordered[VAL_ACC]).groupby(ordered[TRIAL_ID])
    best = values.cummax() if mode == "max" else values.cummin()
    return ordered.assign(**{BEST_VAL_ACC: best.groupby(ordered[TRIAL_ID]).ffill()})


def best_of(values: Array, sample: Sample) -> float:
    """The best of some accuracies of a sample."""
    return float(sample.sign * np.max(sample.sign * values))


def finite(values: pd.Series) -> pd.Series:
    """``values`` without infinite ones: a loss that diverged is no result."""
    return values.where(np.isfinite(values))


def accuracy_within(study: Study, epochs: int) -> pd.Series:
    """Best val_acc, by the study's mode, of each trial within ``epochs``, by trial id, however far the trial came."""
    rows = study.history[study.history[EPOCH].le(epochs)]
    return finite(rows[VAL_ACC]).groupby(rows[TRIAL_ID]).agg(study.mode).dropna()


def sample_at(study: Study, epochs: int | None = None) -> Sample:
    """The trials of ``study`` that can be compared within ``epochs``; by default at ``common_epoch``.

    A trial counts if it trained for ``epochs`` or ended by itself before, whatever became of it later. ValueError if
    there is none, or none trained for ``epochs``.
    """
    trials = study.trials
    if not len(study.history):
        usable = trials[finite(trials[BEST_VAL_ACC]).notna() & trials[STATE].ne(FAILED)]
        usable = usable.assign(**{ACCURACY: usable[BEST_VAL_ACC]})
        known = int(finite(trials[BEST_VAL_ACC]).notna().sum())
        return _checked(Sample(usable, study.parameters, None, known, 0, study.metric, study.mode))
    epochs = checked_epochs(study, epochs) or common_epoch(study)
    accuracy = trials[TRIAL_ID].map(accuracy_within(study, epochs))
    reached = trials[EPOCHS].ge(epochs)
    carried = trials[STATE].eq(COMPLETED) & ~reached
    kept = accuracy.notna() & (reached | carried)
    known = int(trials[BEST_VAL_ACC].notna().sum())
    chosen = trials[kept].assign(**{ACCURACY: accuracy[kept]})
    ended = int((kept & carried).sum())
    return _checked(Sample(chosen, study.parameters, epochs, known, ended, study.metric, study.mode))


def checked_epochs(study: Study, epochs: int | None) -> int | None:
    """``epochs``; ValueError if no trial trained so long."""
    if epochs is not None and len(study.history) and not 1 <= epochs <= longest(study):
        raise ValueError(f"the budget is {epochs} epochs; choose 1 to {longest(study)}, what the longest trial trained")
    return epochs


def _checked(sample: Sample) -> Sample:
    if not len(sample):
        raise ValueError(
            "no trial that did not fail has a result"
            if sample.of
            else "no trial has an accuracy yet; wait for the first epochs of the search"
        )
    names = varying(sample.trials, sample.parameters)
    texts = [n for n in names if not is_number(sample.trials[n]) and sample.trials[n].map(str).nunique() > MOST_LEVELS]
    return replace(sample, parameters=[n for n in names if n not in texts], left_out=texts)


def best_trials(study: Study, n: int = 10) -> pd.DataFrame:
    """The ``n`` trials with the best results, each at whatever budget it had, and their hyperparameters.

    The best of many is partly luck: trained again, it is rather worse than better.
    """
    trials = study.trials[finite(study.trials[BEST_VAL_ACC]).notna() & study.trials[STATE].ne(FAILED)]
    order = (study.sign * trials[BEST_VAL_ACC]).sort_values(ascending=False, kind="stable").index[:n]
    columns = [TRIAL_ID, NAME, STATE, BEST_VAL_ACC, EPOCHS, *varying(study.trials, study.parameters)]
    return trials.loc[order, columns].reset_index(drop=True)


def common_epoch(study: Study) -> int:
    """The largest number of epochs that all trials have trained for, give or take ALL_REACHED.

    With early stopping that is the grace period. Trials that ended by themselves count as if they had gone on; those
    that failed or are running do not count.
    """
    ended = study.trials[~study.trials[STATE].isin([FAILED, RUNNING]) & study.trials[BEST_VAL_ACC].notna()]
    if not len(ended):
        ended = study.trials[study.trials[BEST_VAL_ACC].notna()]
    last = longest(study)
    reached = ended[EPOCHS].where(ended[STATE].ne(COMPLETED), last)
    return max((e for e in range(1, last + 1) if reached.ge(e).mean() >= ALL_REACHED), default=1)


def longest(study: Study) -> int:
    """Epochs of the longest trial."""
    return int(study.trials[EPOCHS].max()) if study.trials[EPOCHS].notna().any() else 0


def rungs(study: Study) -> list[int]:
    """Epochs at which early stopping compared trials, then the last epoch.

    From the configuration if it has a grace period and a factor, otherwise epochs at which trials that did not
    complete piled up.
    """
    config: dict[str, Any] = study.info.get("config") or {}
    last = max(longest(study), 1)
    grace, factor = config.get("grace_period"), config.get("reduction_factor")
    if grace and factor and factor > 1:
        last = int(config.get("max_epochs") or last)
        return [*rung_milestones(int(grace), int(factor), last), last]
    trials = study.trials[~study.trials[STATE].isin([COMPLETED, RUNNING, FAILED])]
    piled = trials[EPOCHS].value_counts() / max(len(study.trials), 1)
    return [*sorted(int(epoch) for epoch in piled.index[piled.ge(PILE)] if 0 < epoch < last), last]
