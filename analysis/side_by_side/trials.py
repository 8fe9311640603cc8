"""Trials of one study side by side: their curves, and the hyperparameters in which they differ."""

from collections.abc import Sequence

import pandas as pd

from analysis import comparable
from analysis.comparable import is_accuracy, mask_infinite
from analysis.objective import objective_named
from analysis.schema import (
    BEST_VAL_ACC,
    EPOCH,
    EPOCHS,
    STATE,
    TRAIN_ACC,
    TRAIN_LOSS,
    TRIAL_ID,
    VAL_ACC,
    VAL_BALANCED_ACC,
    VAL_LOSS,
    VAL_MACRO_F1,
    VAL_TOP2_ACC,
)
from analysis.stats.encode import label_of, varying_parameters
from analysis.study import StudyData

LABELS = {
    VAL_ACC: "validation accuracy", VAL_LOSS: "validation loss", TRAIN_ACC: "training accuracy",
    TRAIN_LOSS: "training loss", VAL_BALANCED_ACC: "balanced validation accuracy", VAL_MACRO_F1: "validation macro F1",
    VAL_TOP2_ACC: "validation top-2 accuracy",
}  # fmt: skip


def best_trials(study: StudyData, count: int) -> list[str]:
    """The ids of the ``count`` best trials that have a result and did not fail, best first.

    >>> best_trials(study, 2)
    ['t0008', 't0016']
    """
    return [str(trial_id) for trial_id in comparable.best_trials(study, count)[TRIAL_ID]]


def curve_metrics(study: StudyData) -> dict[str, str]:
    """The columns of the history that have values, with their names in texts; the study's own metric comes first.

    >>> list(curve_metrics(study))[:2]
    ['val_acc', 'val_loss']
    """
    objective = objective_named(study.metric)
    own = objective.label if objective else LABELS[VAL_ACC] if is_accuracy(study.metric) else study.metric
    known = {VAL_ACC: own} | {name: label for name, label in LABELS.items() if name != VAL_ACC and label != own}
    return {name: label for name, label in known.items() if name in study.history and study.history[name].notna().any()}


def trial_curves(study: StudyData, trial_ids: Sequence[str], metric: str) -> pd.DataFrame:
    """One row per epoch of the trials: trial_id, epoch and ``value``, the finite values of the column ``metric``.

    >>> trial_curves(study, ["t0008"], "val_acc").columns.tolist()
    ['trial_id', 'epoch', 'value']
    """
    rows = study.history[study.history[TRIAL_ID].isin(trial_ids)]
    curves = pd.DataFrame({TRIAL_ID: rows[TRIAL_ID], EPOCH: rows[EPOCH], "value": mask_infinite(rows[metric])})
    return curves.dropna().sort_values([TRIAL_ID, EPOCH], kind="stable", ignore_index=True)


def differing_parameters(study: StudyData, trial_ids: Sequence[str]) -> tuple[pd.DataFrame, dict[str, str]]:
    """What distinguishes the trials: one row per trial, and the hyperparameters that are alike in all of them.

    The columns of the table are trial_id, state, epochs, best_val_acc and the hyperparameters with more than one value.

    >>> table, alike = differing_parameters(study, ["t0008"])
    >>> list(table), "batch_norm" in alike
    (['trial_id', 'state', 'epochs', 'best_val_acc'], True)
    """
    known = study.trials.set_index(TRIAL_ID, drop=False)
    trials = known.loc[[trial_id for trial_id in trial_ids if trial_id in known.index]].reset_index(drop=True)
    different = varying_parameters(trials, study.parameters)
    alike = {
        name: label_of(trials[name].iloc[0])
        for name in study.parameters
        if len(trials) and name not in different and pd.notna(trials[name].iloc[0])
    }
    return trials[[TRIAL_ID, STATE, EPOCHS, BEST_VAL_ACC, *different]], alike
