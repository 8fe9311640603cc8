"""How often networks are told apart by another metric than the accuracy, in simulations whose truth is known.

    python benchmarks/metric_noise.py                 # some minutes on one core
    python benchmarks/metric_noise.py --studies 40    # a quick look

"apart": how often any of 4 trials with kept answers is told from the best of 5 equal trials, after Holm's correction;
the best one is chosen by the same images. "pair": how often two of them that are not chosen are told apart, at 5 %.
"holds": how often the 95 % interval of a pair holds the true difference; "better": the same where the first network is
better, and "found" how often it is told apart there.

same: all networks have the same chances on each class. swapped: every other network exchanges its recalls between
easy and hard classes, and spreads its losses wider, so that scores are equal but answers are not exchangeable.

An image has a difficulty that all networks share in part (SHARED), and wrong answers name a class that they share in
part. A loss grows with the difficulty. ``rare``: the largest class has 20 times the images of the smallest.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import tyro
from scipy import stats

from analysis.kept_scores import kept_scores
from analysis.noise import Scored, compare_with_best
from analysis.objective import BALANCED_ACCURACY, LOSS, MACRO_F1, TOP2, Objective
from analysis.readers.answers import Answers, TrainingAnswers

SHARED = 0.7  # correlation of the difficulty of an image between two networks
CLASSES = 10
RECALLS = np.tile([0.6, 0.8], CLASSES // 2)  # of hard and easy classes
BETTER = 0.04  # what the better network has more, in recall of each class
TRIALS = 5
MANY = 100_000  # images that stand for the truth
METRICS = (BALANCED_ACCURACY, MACRO_F1, LOSS, TOP2)
Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Case:
    """Equal networks on a validation split."""

    images: int
    rare: bool
    swapped: bool

    @property
    def shares(self) -> Array:
        """The share of each class."""
        # A hard and an easy class have the same share, so that exchanging their recalls changes no score.
        sizes = np.repeat(np.geomspace(20, 1, CLASSES // 2) if self.rare else np.ones(CLASSES // 2), 2)
        return np.asarray(sizes / sizes.sum())

    def networks(self, number: int, better: bool = False) -> list[tuple[Array, float]]:
        """The recalls and the spread of the losses of some networks; with ``better``, the first one has higher ones."""
        other = RECALLS.reshape(-1, 2)[:, ::-1].ravel(), 1.5
        found = [other if self.swapped and place % 2 else (RECALLS, 1.0) for place in range(number)]
        return [(found[0][0] + BETTER, 1.0), *found[1:]] if better else found


def answers_of(case: Case, networks: list[tuple[Array, float]], images: int, seed: int) -> list[TrainingAnswers]:
    """What networks answer on random images."""
    random = np.random.default_rng((seed, case.images, case.rare, case.swapped))
    labels = random.choice(CLASSES, images, p=case.shares)
    common, confused = random.standard_normal(images), (labels + random.integers(1, CLASSES, images)) % CLASSES
    return [_answers(recalls, spread, labels, common, confused, random) for recalls, spread in networks]


def _answers(
    recalls: Array, spread: float, labels: npt.NDArray[np.int64], common: Array, confused: npt.NDArray[np.int64],
    random: np.random.Generator,
) -> TrainingAnswers:  # fmt: skip
    images = len(labels)
    latent = np.sqrt(SHARED) * common + np.sqrt(1 - SHARED) * random.standard_normal(images)
    margin = stats.norm.ppf(recalls)[labels] - latent
    own = (labels + random.integers(1, CLASSES, images)) % CLASSES
    wrong = np.where(random.random(images) < SHARED, confused, own)
    # Exponential with a mean of 1 whatever the spread, near 0 on easy images; a better network has lower ones.
    quantile = stats.norm.cdf(latent)
    losses = (1 - np.mean(recalls)) * (1 + spread * (-np.log1p(-quantile) - 1))
    return TrainingAnswers(
        1, "", (1,), 1, (margin > 0)[None], labels, np.where(margin > 0, labels, wrong), margin > -0.5,
        losses.astype(np.float32),
    )  # fmt: skip


def scored(trainings: list[TrainingAnswers], objective: Objective) -> list[Scored]:
    """The networks as trials, best first."""
    values = [kept_scores([[one]], objective)[0].value for one in trainings]  # type: ignore[index]
    order = np.argsort([-objective.sign * value for value in values], kind="stable")
    return [Scored(str(place), values[place], answers=Answers((trainings[place],))) for place in order]


def measured(case: Case, objective: Objective, studies: int, better_by: float) -> dict[str, float]:
    """The rates of one metric."""
    rows = []
    for seed in range(studies):
        trainings = answers_of(case, case.networks(TRIALS), case.images, seed)
        best, *others = scored(trainings, objective)
        all_of_them = compare_with_best(best, others, objective=objective)
        pair = _pair(trainings[:2], objective)
        better = _pair(answers_of(case, case.networks(2, better=True), case.images, seed), objective)
        assert all_of_them is not None
        rows.append({
            "apart": len(all_of_them.untold) < TRIALS - 1, "pair": pair.p_holm <= 0.05,
            "holds": pair.low <= 0 <= pair.high, "better": better.low <= better_by <= better.high,
            "found": better.p_holm <= 0.05, "width": pair.high - pair.low,
        })  # fmt: skip
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


def _pair(trainings: list[TrainingAnswers], objective: Objective) -> Any:
    """The row of the comparison of two networks."""
    values = [kept_scores([[one]], objective)[0].value for one in trainings]  # type: ignore[index]
    first, second = (Scored(str(at), values[at], answers=Answers((trainings[at],))) for at in (0, 1))
    noise = compare_with_best(first, [second], objective=objective)
    assert noise is not None
    return next(noise.table.itertuples())


def true_difference(case: Case, objective: Objective) -> float:
    """By how much the better network is better, on MANY images."""
    trainings = answers_of(case, case.networks(2, better=True), MANY, 0)
    first, second = kept_scores([[one] for one in trainings], objective)  # type: ignore[misc]
    return first.value - second.value


def cases(images: tuple[int, ...]) -> Iterator[Case]:
    """All cases; where the recalls are swapped, the top-2 accuracy and the loss are equal too, as shares are."""
    for number in images:
        for rare in (False, True):
            for swapped in (False, True):
                yield Case(number, rare, swapped)


@dataclass(frozen=True, kw_only=True)
class Options:
    """Simulate studies."""

    studies: int = 300
    images: tuple[int, ...] = (300, 2000)


def main() -> None:
    """Print a line per case and metric, then the result line."""
    options, fields = tyro.cli(Options), []
    for case in cases(options.images):
        for objective in METRICS:
            rates = measured(case, objective, options.studies, true_difference(case, objective))
            which = f"images={case.images} rare={case.rare} swapped={case.swapped} metric={objective.name}"
            print(f"{which} {' '.join(f'{name}={value:.3f}' for name, value in rates.items())}", flush=True)
            name = f"{objective.name}_{case.images}{'_rare' if case.rare else ''}{'_swapped' if case.swapped else ''}"
            fields += [f"{name}_apart={rates['apart']:.3f}", f"{name}_holds={rates['holds']:.3f}"]
    print("result: " + " ".join(fields))


if __name__ == "__main__":
    main()
