"""Which trials cannot be told from the best one: how much of their lead the validation images alone may explain.

A validation split of 454 images gives an accuracy of 0.7 a standard error of 2.2 points, and the best of many trials is
partly the luckiest. All trials answer the same images, so trials whose answers are kept are compared image by image
with McNemar's exact test. Of other trials only the accuracy is known; it is compared as if it came from other images,
which is less sharp. All comparisons of a study are corrected together (Holm). The best trial is chosen by the same
images; nevertheless the truly best trial is among those that cannot be told from it in at least 95 % of studies:
``benchmarks/validation_noise.py`` measures that.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis.class_counts import validation_images
from analysis.comparable import is_accuracy, mask_infinite
from analysis.readers.answers import Answers, read_all_answers, read_last_answers
from analysis.schema import BEST_VAL_ACC, CHEAPER_THAN, FAILED, FOLDS_DONE, LAST_TRAINING, STATE, TRIAL_ID
from analysis.stats.pairs import compare_pairs, compare_shares, detectable_paired, detectable_unpaired
from analysis.stats.resampling import CONFIDENCE, holm
from analysis.study import StudyData
from analysis.wording import counted

SAME = 1e-4  # accuracies that differ by less are the same number, once written in 32 bit
COLUMNS = [TRIAL_ID, "value", "difference", "low", "high", "p_holm", "paired"]


@dataclass(frozen=True, slots=True)
class Scored:
    """A trial with its accuracy, the number of its ended trainings (folds), and its answers if they are kept."""

    trial_id: str
    value: float
    trainings: int = 1
    answers: Answers | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Noise:
    """The comparison of the ``best`` trial, of accuracy ``value``, with each other one.

    ``table`` has one row per other trial: its accuracy ``value``, the ``difference`` of the best trial from it with the
    95 % interval of this comparison alone, its corrected p value, and whether it was ``paired``. ``images`` is the
    number of images that the best trial was validated on. A difference of ``detectable`` is found in 80 % of single
    comparisons, if the answers differ as those of the second best trial.
    """

    best: str
    value: float
    images: int
    table: pd.DataFrame
    detectable: float

    @property
    def untold(self) -> list[str]:
        """The trials that cannot be told from the best one."""
        return [str(trial) for trial in self.table.loc[~self.table["p_holm"].le(1 - CONFIDENCE), TRIAL_ID]]

    @property
    def standard_error(self) -> float:
        """That of the accuracy of the best trial, by the number of its images alone."""
        return float(np.sqrt(self.value * (1 - self.value) / self.images))

    def to_json(self) -> dict[str, Any]:
        """The values of ``validation_noise`` in best.json."""
        return {
            "compared": len(self.table), "not_told_apart": len(self.untold), "paired": int(self.table["paired"].sum()),
            "images": self.images, "standard_error": round(self.standard_error, 6),
            "detectable_difference": round(self.detectable, 6), "trial_ids": self.untold,
        }  # fmt: skip

    def describe(self) -> str:
        """How many trials cannot be told from the best one, how they were compared, and what could be seen."""
        untold, compared, paired = len(self.untold), len(self.table), int(self.table["paired"].sum())
        how = f"{paired} compared photo by photo, {compared - paired} by accuracy alone"
        if paired in (0, compared):
            how = "compared photo by photo" if paired else "compared by accuracy alone, as no answers are kept"
        number = f"{untold} of {compared} other trials cannot"
        if untold in (0, compared):
            others = "the only other trial" if compared == 1 else f"all {compared} other trials"
            number = f"{others} can" if untold == 0 else f"{others} cannot"
        return (
            f"{number} be told from the best one on {counted(self.images, 'validation photo')}; {how}, where a "
            f"difference of {self.detectable:.3f} is found in 80 % of cases"
        )


def compare_with_best(
    best: Scored, others: Sequence[Scored], images: int | None = None, folds: int = 1
) -> Noise | None:
    """Compare ``best`` with each of ``others``.

    ``images`` is the number of validation images of all ``folds`` together, if it is known; answers know it better.
    None if there is nothing to compare, or if nothing says how many images there are.
    """
    whole = best.answers if best.answers is not None and len(best.answers.trainings) == folds else None
    images = images if whole is None else sum(training.right.shape[1] for training in whole.trainings)
    if not images or not others or not all(0 <= trial.value <= 1 for trial in (best, *others)):
        return None
    values = np.array([trial.value for trial in others])
    counts = np.array([images * _part(trial, folds) for trial in others])
    own_count = images * _part(best, folds)
    table = pd.DataFrame({TRIAL_ID: [trial.trial_id for trial in others], "value": values, "paired": False})
    table = table.assign(**compare_shares(best.value, own_count, values, counts))
    differing: list[tuple[float, float]] = []  # accuracy of the other trial, share of the images that differ
    for row, other in enumerate(others):
        pair = _answers_of_both(best, other, folds)
        if pair is not None:
            found = compare_pairs(*pair)
            either = max(found["only_first"] + found["only_second"], 1)
            differing.append((other.value, either / len(pair[0])))
            cells = [found["difference"], *found["difference_interval"], found["p_value"], True]
            table.loc[row, ["difference", "low", "high", "p_value", "paired"]] = cells
    table["p_holm"] = holm(table["p_value"].tolist())
    closest = max(differing, default=None)
    detectable = detectable_unpaired(images, best.value) if closest is None else detectable_paired(images, closest[1])
    return Noise(best.trial_id, best.value, images, table[COLUMNS].astype({"paired": bool}), detectable)


def _part(trial: Scored, folds: int) -> float:
    """Which part of all images the accuracy of a trial is about: those of the folds that it has ended."""
    return min(max(trial.trainings, 1), folds) / folds


def _answers_of_both(best: Scored, other: Scored, folds: int) -> tuple[Any, Any] | None:
    """The answers of two trials to the same images; None if they are not kept.

    Repeats would count an image several times, so trials with repeats are not compared image by image.
    """
    known = [_usable(trial, folds) for trial in (best, other)]
    common = min(map(len, known))
    pairs = list(zip(known[0][:common], known[1][:common], strict=True))
    if not pairs or any(one.split != two.split or len(one.best) != len(two.best) for one, two in pairs):
        return None
    return np.concatenate([one.best for one, _ in pairs]), np.concatenate([two.best for _, two in pairs])


def _usable(trial: Scored, folds: int) -> tuple[Any, ...]:
    """The ended trainings of the answers of a trial, if the accuracy of the trial is theirs."""
    if trial.answers is None or trial.trainings > folds:
        return ()
    ended = Answers(trial.answers.trainings[: max(trial.trainings, 1)])
    return ended.trainings if abs(ended.value - trial.value) < SAME else ()


def noise_of(study: StudyData, best_json: dict[str, Any], best: pd.Series | None) -> Noise | None:
    """Compare the ``best`` trial of a study directory with its other trials that have a result and have not failed.

    ``best_json`` is the content of best.json; if it says that ``best`` was chosen because it costs less, the better
    trial is compared. None where nothing can be said: for other metrics than the accuracy, for
    a single trial, and for studies that do not record the number of their validation images.
    """
    if best is None or not is_accuracy(study.metric):
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
    return compare_with_best(own, others, *validation_images(study.info))


def better_trial(study: StudyData, best_json: dict[str, Any], chosen: pd.Series) -> pd.Series:
    """The best trial of a study whose best.json names the cheaper one ``chosen``; else ``chosen`` itself."""
    cheaper_than = best_json.get(CHEAPER_THAN)
    wanted = cheaper_than.get(TRIAL_ID) if isinstance(cheaper_than, dict) else None
    found = study.trials[study.trials[TRIAL_ID].eq(str(wanted)) & mask_infinite(study.trials[BEST_VAL_ACC]).notna()]
    return found.iloc[0] if len(found) else chosen


def compare_trials(study: StudyData, trial_id: str, others: Sequence[str]) -> Noise | None:
    """Compare a trial of a study with some others; None where nothing can be said."""
    if not is_accuracy(study.metric):
        return None
    kept = {} if study.path is None else read_all_answers(study.path)
    found = {trial.trial_id: trial for trial in _scored(study.trials, kept)}
    rivals = [found[other] for other in others if other != trial_id]
    return compare_with_best(found[trial_id], rivals, *validation_images(study.info))


def compare_last(study: StudyData, value: float, trial_id: str) -> Noise | None:
    """Compare the last training of a time budget, of accuracy ``value``, with a trial of the search."""
    if not is_accuracy(study.metric):
        return None
    kept, answers = ({}, None) if study.path is None else (read_all_answers(study.path), read_last_answers(study.path))
    rival = next(_scored(study.trials[study.trials[TRIAL_ID].eq(trial_id)], kept))
    return compare_with_best(Scored(LAST_TRAINING, value, answers=answers), [rival], *validation_images(study.info))


def _scored(trials: pd.DataFrame, kept: dict[str, Answers]) -> Iterator[Scored]:
    done = trials[FOLDS_DONE].fillna(0).astype(int) if FOLDS_DONE in trials else pd.Series(1, index=trials.index)
    rows = zip(trials[TRIAL_ID], trials[BEST_VAL_ACC], done, strict=True)
    return (Scored(str(trial), float(value), int(number), kept.get(str(trial))) for trial, value, number in rows)
