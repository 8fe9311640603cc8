"""Why the trials of a study cannot be compared, in words."""

import numpy as np
import pandas as pd

from analysis.schema import BEST_VAL_ACC, ERROR, FAILED, RUNNING, STATE
from analysis.study import StudyData


class NothingToCompareError(ValueError):
    """A study without a trial that can be compared with others."""


def no_result(study: StudyData) -> NothingToCompareError:
    """Why no trial of ``study`` can be compared, as an error whose text is a sentence without its end.

    >>> from dataclasses import replace
    >>> str(no_result(replace(study, trials=study.trials.assign(state="failed", error="out of memory"))))
    'all 60 trials failed (out of memory); mend the cause and run them again'
    """
    trials = study.trials
    if not len(trials):
        return NothingToCompareError("the study has no trial yet; start the search")
    if trials[STATE].eq(FAILED).all():
        reason = _most_frequent_error(trials)
        if len(trials) == 1:
            return NothingToCompareError(f"the only trial failed{reason}; mend the cause and run it again")
        return NothingToCompareError(f"all {len(trials)} trials failed{reason}; mend the cause and run them again")
    if trials[STATE].eq(RUNNING).any():
        return NothingToCompareError("no trial has a result yet; wait for the first results of the search")
    if np.isfinite(trials[BEST_VAL_ACC]).any():
        return NothingToCompareError(
            "no trial that did not fail has a result at this budget; choose a smaller one with --epochs"
        )
    return NothingToCompareError(f"no trial has a finite value of {study.metric}; choose another metric with --metric")


def _most_frequent_error(trials: pd.DataFrame) -> str:
    """The most frequent first line of an error, in brackets; empty if no error is recorded."""
    errors = trials[ERROR].fillna("").astype(str).str.strip()
    reasons = errors[errors.ne("")].str.split("\n").str[0].str.slice(0, 160)
    return f" ({reasons.mode().iloc[0]})" if len(reasons) else ""
