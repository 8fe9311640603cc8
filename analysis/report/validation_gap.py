"""Whether the test accuracy is so far below the validation accuracy that the validation split must be easier."""

from typing import Any

from analysis.class_counts import recorded_counts
from analysis.comparable import is_accuracy
from analysis.report.headline import best_trial
from analysis.schema import BEST_VAL_ACC, FOLDS_DONE, TRIAL_ID, VAL
from analysis.side_by_side.evaluations import tested
from analysis.stats.shares import difference_interval
from analysis.study import StudyData

EXPLAINED = 0.02  # choosing the best epoch and trial by the same split costs about 1.5 points on average


def validation_gap(study: StudyData, best_json: dict[str, Any]) -> list[str]:
    """The gap between validation and test accuracy, if its interval is above what choosing the best explains."""
    best, counts = best_trial(study, best_json), recorded_counts(study.info)
    if best is None or not counts or not is_accuracy(study.metric) or FOLDS_DONE in best.dropna():
        return []
    accuracy, images = tested(best_json) if best_json.get(TRIAL_ID) == best[TRIAL_ID] else (None, 0)
    validation, validated = float(best[BEST_VAL_ACC]), sum(counts[VAL])
    if accuracy is None or not validated or not 0 <= validation <= 1:
        return []
    low, high = difference_interval(validation, validated, accuracy, images)
    if low <= EXPLAINED:
        return []
    return [
        f"The validation split is easier than the test split: test accuracy is {validation - accuracy:.3f} lower (95 % "
        f"interval {low:.3f} to {high:.3f}), more than choosing the best epoch and trial explains. If your photos come "
        "in series, such as several of one animal, keep each series in one split with --group-by."
    ]
