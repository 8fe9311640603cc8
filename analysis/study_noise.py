"""Which trials of a study cannot be told from its best one, by the answers in the study directory."""

from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from analysis.class_counts import validation_images
from analysis.comparable import mask_infinite
from analysis.kept_scores import SHARES, objective_of_metric
from analysis.noise import Noise, Scored, compare_with_best
from analysis.readers.answers import Answers, read_all_answers, read_last_answers
from analysis.schema import BEST_VAL_ACC, CHEAPER_THAN, FAILED, FOLDS_DONE, LAST_TRAINING, STATE, TRIAL_ID
from analysis.study import StudyData


def noise_of(study: StudyData, best_json: dict[str, Any], best: pd.Series | None) -> Noise | None:
    """Compare the ``best`` trial of a study directory with its other trials that have a result and have not failed.

    ``best_json`` is the content of best.json; if it says that ``best`` was chosen because it costs less, the better
    trial is compared. None where nothing can be said: for a metric that `inat` does not optimise, for a single trial,
    for studies that do not record the number of their validation images, and where ``why_not_compared`` says so.
    """
    objective = objective_of_metric(study.metric)
    if best is None or objective is None:
        return None
    best = better_trial(study, best_json, best)
    trials = study.trials[study.trials[STATE].ne(FAILED) & mask_infinite(study.trials[BEST_VAL_ACC]).notna()]
    kept, trial_id = {} if study.path is None else read_all_answers(study.path), str(best[TRIAL_ID])
    others = [scored for scored in _scored(trials, kept) if scored.trial_id != trial_id]
    if best_json.get(LAST_TRAINING) is True and CHEAPER_THAN not in best_json:
        others = list(_scored(trials, kept))
        answers = None if study.path is None else read_last_answers(study.path)
        own = Scored(trial_id, float(best[BEST_VAL_ACC]), answers=answers)
    else:
        own = next(_scored(best.to_frame().T, kept))
    return compare_with_best(own, others, *validation_images(study.info), objective)


def why_not_compared(study: StudyData) -> str:
    """One sentence on why no trials are compared by the metric of this study; "" if that is no matter of the metric."""
    objective = objective_of_metric(study.metric)
    if objective is None or objective in SHARES:
        return ""
    return (
        f"The {objective.label} of two trials is compared by their answers to each photo, which are kept beside "
        "checkpoints; here those of the best trial or of all others are missing, as in studies of earlier versions."
    )


def better_trial(study: StudyData, best_json: dict[str, Any], chosen: pd.Series) -> pd.Series:
    """The best trial of a study whose best.json names the cheaper one ``chosen``; else ``chosen`` itself."""
    cheaper_than = best_json.get(CHEAPER_THAN)
    wanted = cheaper_than.get(TRIAL_ID) if isinstance(cheaper_than, dict) else None
    found = study.trials[study.trials[TRIAL_ID].eq(str(wanted)) & mask_infinite(study.trials[BEST_VAL_ACC]).notna()]
    return found.iloc[0] if len(found) else chosen


def compare_trials(study: StudyData, trial_id: str, others: Sequence[str]) -> Noise | None:
    """Compare a trial of a study with some others; None where nothing can be said about all of them."""
    objective = objective_of_metric(study.metric)
    if objective is None:
        return None
    kept = {} if study.path is None else read_all_answers(study.path)
    found = {trial.trial_id: trial for trial in _scored(study.trials, kept)}
    rivals = [found[other] for other in others if other != trial_id]
    noise = compare_with_best(found[trial_id], rivals, *validation_images(study.info), objective)
    return noise if noise is not None and not noise.left_out else None


def compare_last(study: StudyData, value: float, trial_id: str) -> Noise | None:
    """Compare the last training of a time budget, with the result ``value``, with a trial of the search."""
    objective = objective_of_metric(study.metric)
    if objective is None:
        return None
    kept, answers = ({}, None) if study.path is None else (read_all_answers(study.path), read_last_answers(study.path))
    rival = next(_scored(study.trials[study.trials[TRIAL_ID].eq(trial_id)], kept))
    last = Scored(LAST_TRAINING, value, answers=answers)
    return compare_with_best(last, [rival], *validation_images(study.info), objective)


def _scored(trials: pd.DataFrame, kept: dict[str, Answers]) -> Iterator[Scored]:
    done = trials[FOLDS_DONE].fillna(0).astype(int) if FOLDS_DONE in trials else pd.Series(1, index=trials.index)
    rows = zip(trials[TRIAL_ID], trials[BEST_VAL_ACC], done, strict=True)
    return (Scored(str(trial), float(value), int(number), kept.get(str(trial))) for trial, value, number in rows)
