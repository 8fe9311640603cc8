"""The score of each metric from kept answers, and which answers it needs."""

from collections.abc import Sequence

import numpy as np

from analysis.objective import ACCURACY, BALANCED_ACCURACY, LOSS, MACRO_F1, OBJECTIVES, TOP2, Objective
from analysis.readers.answers import Classes, TrainingAnswers
from analysis.stats.paired_scores import Ratios, f1_ratios, mean_ratios, recall_ratios

SHARES = (ACCURACY, TOP2)  # shares of the images that are right


def objective_of_metric(metric: str) -> Objective | None:
    """The objective whose values, or best values, are in the column ``metric``; None for another metric."""
    return next((one for one in OBJECTIVES.values() if metric in (one.column, one.best_column)), None)


def kept_scores(models: Sequence[Sequence[TrainingAnswers]], objective: Objective) -> list[Ratios] | None:
    """The score of each of some models, on the images of their trainings (folds), as ratios with the same classes.

    All models have trainings on the same splits. None if the answers that the metric needs are not kept.
    """
    trainings = [training for model in models for training in model]
    if not trainings or not all(_has_answers(training, objective) for training in trainings):
        return None
    fold = np.repeat(np.arange(len(models[0])), [len(training.best) for training in models[0]])
    if objective in (BALANCED_ACCURACY, MACRO_F1):
        ratios = recall_ratios if objective is BALANCED_ACCURACY else f1_ratios
        labels, predicted = ([_joined(model, name) for model in models] for name in ("labels", "predicted"))
        classes, numbers = np.unique(np.concatenate([*labels, *predicted]), return_inverse=True)
        known, given = np.split(numbers.reshape(2 * len(models), -1), 2)  # from 0 on, without gaps
        return [ratios(*both, fold, len(classes)) for both in zip(known, given, strict=True)]
    return [mean_ratios(np.concatenate([_values(one, objective) for one in model]), fold) for model in models]


def _has_answers(training: TrainingAnswers, objective: Objective) -> bool:
    if objective in (BALANCED_ACCURACY, MACRO_F1):
        return training.labels is not None and training.predicted is not None
    return objective is ACCURACY or (training.in_two if objective is TOP2 else training.losses) is not None


def _joined(model: Sequence[TrainingAnswers], name: str) -> Classes:
    joined: Classes = np.concatenate([getattr(training, name) for training in model])
    return joined


def _values(training: TrainingAnswers, objective: Objective) -> np.ndarray:
    """Of each image, whether it is right (``best``, ``in_two``), or its loss."""
    values = training.losses if objective is LOSS else training.in_two if objective is TOP2 else training.best
    assert values is not None
    return values
