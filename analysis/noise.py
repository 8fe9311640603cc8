"""Which trials cannot be told from the best one: how much of their lead the validation images alone may explain.

A validation split of 454 images gives an accuracy of 0.7 a standard error of 2.2 points, and the best of many trials is
partly the luckiest. All trials answer the same images, so trials whose answers are kept are compared image by image
with McNemar's exact test. Of other trials only the accuracy is known; it is compared as if it came from other images,
which is less sharp. All comparisons of a study are corrected together (Holm). The best trial is chosen by the same
images; nevertheless the truly best trial is among those that cannot be told from it in at least 95 % of studies:
``benchmarks/validation_noise.py`` measures that.

The top-2 accuracy is compared in the same way. Other metrics are compared by swaps of the answers to random images
(``analysis.stats.paired_scores``), and only between trials whose answers are kept: the value of a balanced accuracy, a
macro F1 or a loss alone does not say how it varies.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from analysis.kept_scores import SHARES, kept_scores
from analysis.objective import ACCURACY, Objective
from analysis.readers.answers import Answers, TrainingAnswers
from analysis.schema import TRIAL_ID
from analysis.stats.paired_scores import Ratios, compare_scores
from analysis.stats.pairs import compare_pairs, compare_shares, detectable_paired, detectable_unpaired
from analysis.stats.resampling import CONFIDENCE, POWER, holm
from analysis.wording import counted

SAME = 1e-4  # scores that differ by less are the same number, once written in 32 bit
COLUMNS = [TRIAL_ID, "value", "difference", "low", "high", "p_holm", "paired"]


@dataclass(frozen=True, slots=True)
class Scored:
    """A trial with its result, the number of its ended trainings (folds), and its answers if they are kept."""

    trial_id: str
    value: float
    trainings: int = 1
    answers: Answers | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Noise:
    """The comparison of the ``best`` trial, with the result ``value``, with each other one.

    ``table`` has one row per other trial: its result ``value``, the ``difference`` of the best trial from it with the
    95 % interval of this comparison alone, its corrected p value, and whether it was ``paired``. ``images`` is the
    number of images that the best trial was validated on. A difference of ``detectable`` is found in 80 % of single
    comparisons, if the answers differ as those of the second best trial. ``standard_error`` is that of ``value``, by
    the images alone. ``left_out`` other trials are not compared, as their answers are not kept.
    """

    best: str
    value: float
    images: int
    table: pd.DataFrame
    detectable: float
    standard_error: float
    objective: Objective = ACCURACY
    left_out: int = 0

    @property
    def untold(self) -> list[str]:
        """The trials that cannot be told from the best one."""
        return [str(trial) for trial in self.table.loc[~self.table["p_holm"].le(1 - CONFIDENCE), TRIAL_ID]]

    def to_json(self) -> dict[str, Any]:
        """The values of ``validation_noise`` in best.json."""
        return {
            "metric": self.objective.name, "compared": len(self.table), "not_told_apart": len(self.untold),
            "paired": int(self.table["paired"].sum()), "not_compared": self.left_out, "images": self.images,
            "standard_error": round(self.standard_error, 6), "detectable_difference": round(self.detectable, 6),
            "trial_ids": self.untold,
        }  # fmt: skip

    def describe(self) -> str:
        """How many trials cannot be told from the best one, how they were compared, and what could be seen."""
        untold, compared, paired = len(self.untold), len(self.table), int(self.table["paired"].sum())
        how = f"{paired} compared photo by photo, {compared - paired} by {self.objective.short} alone"
        if paired in (0, compared):
            alone = f"compared by {self.objective.short} alone, as no answers are kept"
            how = "compared photo by photo" if paired else alone
        kept = " with kept answers" if self.left_out else ""
        number = f"{untold} of {compared} other trials{kept} cannot"
        if untold in (0, compared):
            others = f"the only other trial{kept}" if compared == 1 else f"all {compared} other trials{kept}"
            number = f"{others} can" if untold == 0 else f"{others} cannot"
        how += "" if self.objective in SHARES else f" by {self.objective.short}"
        are = "1 trial without them is" if self.left_out == 1 else f"{self.left_out} trials without them are"
        return (
            f"{number} be told from the best one on {counted(self.images, 'validation photo')}; {how}, where a "
            f"difference of {self.detectable:.3f} is found in 80 % of cases"
            f"{f'; {are} not compared' if self.left_out else ''}"
        )


def compare_with_best(
    best: Scored, others: Sequence[Scored], images: int | None = None, folds: int = 1, objective: Objective = ACCURACY
) -> Noise | None:
    """Compare ``best`` with each of ``others`` by the ``objective`` that their values are of.

    ``images`` is the number of validation images of all ``folds`` together, if it is known; answers know it better.
    None if there is nothing to compare, or if nothing says how many images there are; for metrics that are no shares of
    the images, also without the answers that they need.
    """
    if objective not in SHARES:
        return _compare_by_swaps(best, others, folds, objective)
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
        pair = _scores_of_both(best, other, folds, objective)
        if pair is not None:
            found = compare_pairs(*(score.tops.toarray().any(axis=1) for score in pair))
            either = max(found["only_first"] + found["only_second"], 1)
            differing.append((other.value, either / pair[0].tops.shape[0]))
            cells = [found["difference"], *found["difference_interval"], found["p_value"], True]
            table.loc[row, ["difference", "low", "high", "p_value", "paired"]] = cells
    table["p_holm"] = holm(table["p_value"].tolist())
    closest = max(differing, default=None)
    detectable = detectable_unpaired(images, best.value) if closest is None else detectable_paired(images, closest[1])
    error = float(np.sqrt(best.value * (1 - best.value) / images))
    table = table[COLUMNS].astype({"paired": bool})
    return Noise(best.trial_id, best.value, images, table, detectable, error, objective)


def _compare_by_swaps(best: Scored, others: Sequence[Scored], folds: int, objective: Objective) -> Noise | None:
    """Compare the trials whose answers are kept.

    The best one is chosen by the same images, so any pair of them might have been compared: the p values are corrected
    for the number of pairs. Without that, of 5 equal trials one was told apart in 8 % of simulated studies.
    """
    known = [(other, _scores_of_both(best, other, folds, objective)) for other in others]
    pairs = [(other, pair) for other, pair in known if pair is not None]
    if not pairs:
        return None
    found = [compare_scores(one, two) for _, (one, two) in pairs]
    table = pd.DataFrame(found).assign(**{TRIAL_ID: [other.trial_id for other, _ in pairs], "paired": True})
    table = table.assign(
        value=[other.value for other, _ in pairs], p_holm=holm((table["p_value"] * (len(pairs) + 1) / 2).tolist())
    )
    nearest = found[int(np.argmin(np.abs(table["difference"])))]
    # The smallest difference that a z test with this standard error finds in 80 % of cases (Bloom 1995).
    detectable = float(stats.norm.ppf((1 + CONFIDENCE) / 2) + stats.norm.ppf(POWER)) * nearest["standard_error"]
    own = max((pair[0] for _, pair in pairs), key=lambda score: score.tops.shape[0])  # on the most folds
    error = float(np.std(own.resampled, ddof=1))
    left_out = len(others) - len(pairs)
    images = own.tops.shape[0]
    return Noise(best.trial_id, best.value, images, table[COLUMNS], detectable, error, objective, left_out)


def _part(trial: Scored, folds: int) -> float:
    """Which part of all images the accuracy of a trial is about: those of the folds that it has ended."""
    return min(max(trial.trainings, 1), folds) / folds


def _scores_of_both(best: Scored, other: Scored, folds: int, objective: Objective) -> tuple[Ratios, Ratios] | None:
    """The scores of two trials on the same images; None if the answers that they need are not kept.

    Repeats would count an image several times, so trials with repeats are not compared image by image.
    """
    known = [_usable(trial, folds, objective) for trial in (best, other)]
    common = min(map(len, known))
    pairs = list(zip(known[0][:common], known[1][:common], strict=True))
    if not pairs or any(one.split != two.split or len(one.best) != len(two.best) for one, two in pairs):
        return None
    scores = kept_scores(list(zip(*pairs, strict=True)), objective)
    return None if scores is None else (scores[0], scores[1])


def _usable(trial: Scored, folds: int, objective: Objective) -> tuple[TrainingAnswers, ...]:
    """The ended trainings of the answers of a trial, if the result of the trial is theirs."""
    if trial.answers is None or trial.trainings > folds:
        return ()
    ended = trial.answers.trainings[: max(trial.trainings, 1)]
    scores = kept_scores([ended], objective)
    return ended if scores and abs(scores[0].value - trial.value) < SAME else ()
