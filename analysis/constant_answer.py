"""The trials of a study against a constant answer: always the class that is most frequent in training."""

import pandas as pd

from analysis.class_counts import constant_score, in_32_bit
from analysis.comparable import is_accuracy, mask_infinite
from analysis.objective import ACCURACY, objective_named
from analysis.schema import BEST_VAL_ACC, FAILED, STATE
from analysis.study import StudyData


def constant_result(study: StudyData) -> float:
    """What a constant answer scores on the validation images in the metric of the study; NaN if it is not known.

    It is rounded to 32 bit, as results of trials are: else a trial that always names the largest class would be better.

    >>> constant_result(study)
    nan
    """
    objective = ACCURACY if is_accuracy(study.metric) else objective_named(study.metric)
    score = None if objective is None else constant_score(study.info, objective.column)
    return float("nan") if score is None else in_32_bit(score)


def results_of(study: StudyData) -> pd.Series:
    """The finite results of the trials that did not fail."""
    trials = study.trials[study.trials[STATE].ne(FAILED)]
    return mask_infinite(trials[BEST_VAL_ACC]).dropna()


def no_better_trials(study: StudyData) -> tuple[int, int] | None:
    """How many trials are no better than a constant answer, and how many trials have a result.

    None if the score of a constant answer is not known, or no trial has a result.
    """
    constant, results = constant_result(study), results_of(study)
    if constant != constant or not len(results):
        return None
    return int((study.sign * results).le(study.sign * constant).sum()), len(results)
