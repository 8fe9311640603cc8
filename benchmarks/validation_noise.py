"""What the noise of a validation split costs, in simulated searches whose true accuracies are known.

    python benchmarks/validation_noise.py                 # both parts: 4 minutes on one core
    python benchmarks/validation_noise.py --studies 100   # a quick look

The first part asks which trials "cannot be told from the best one": how often the truly best trial is among them (the
aim is 95 %), how many they are, and how often any trial is told apart where all are equal; beside a fixed distance of
0.005, as earlier versions had it. The second part asks by how much the score of the best epoch is too high, and what
estimates of that say: two halves of the images, the last epoch, and out-of-bag images of a bootstrap (Tsamardinos et
al., "Bootstrapping the out-of-sample predictions for efficient and accurate cross-validation", 2018).

An image has a difficulty that all trials share in part, as in real studies: with ``SHARED`` 0.7, two networks of
accuracy 0.7 differ in 22 % of their answers. Epochs of one training share more.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import tyro
from scipy import stats

from analysis.noise import Scored, compare_with_best
from analysis.readers.answers import Answers, TrainingAnswers
from analysis.stats.best_epoch import best_epoch

SHARED = 0.7  # correlation of the latent difficulty of an image between two trials
EPOCHS_SHARED = 0.9  # the same between the epochs of one training
CLOSE = 0.005  # the fixed distance of earlier versions
KEPT = 5  # checkpoints whose answers are kept
BAGS = 50
Right = npt.NDArray[np.bool_]


def answers_of(accuracies: npt.NDArray[np.float64], images: int, shared: float, random: np.random.Generator) -> Right:
    """Which images (R, N) each of R networks of these true accuracies has right."""
    noise = random.standard_normal((len(accuracies), images))
    latent = np.sqrt(shared) * random.standard_normal(images) + np.sqrt(1 - shared) * noise
    return np.asarray(latent < stats.norm.ppf(accuracies)[:, None])


def scored(right: Right) -> list[Scored]:
    """The trials of a study, best first; the answers of the first KEPT are kept."""
    values = right.mean(axis=1)
    order = np.argsort(-values, kind="stable")
    return [
        Scored(str(trial), float(values[trial]), answers=_kept(right[trial]) if place < KEPT else None)
        for place, trial in enumerate(order)
    ]


def _kept(right: Right) -> Answers:
    return Answers((TrainingAnswers(1, "", (1,), 1, right[None]),))


@dataclass(frozen=True)
class Case:
    """A kind of study: ``trials`` whose true accuracies have a deviation of ``spread`` around 0.7."""

    images: int
    trials: int
    spread: float

    def studies(self, count: int) -> Iterator[tuple[npt.NDArray[np.float64], Right]]:
        """True accuracies and answers of simulated studies."""
        for seed in range(count):
            random = np.random.default_rng((seed, self.images, self.trials))
            true = 0.7 + self.spread * random.standard_normal(self.trials)
            yield true, answers_of(true, self.images, SHARED, random)


CASES = [
    Case(images, trials, spread) for images in (300, 1000, 5000) for trials in (10, 100) for spread in (0.0, 0.01, 0.05)
]


def told_apart(case: Case, studies: int) -> str:
    """One line of the first part."""
    holds, sizes, close_holds, close_sizes = [], [], [], []
    for true, right in case.studies(studies):
        best, *others = scored(right)
        noise = compare_with_best(best, others, case.images)
        assert noise is not None
        near = {trial.trial_id for trial in others if trial.value >= best.value - CLOSE} | {best.trial_id}
        untold, truly = {*noise.untold, best.trial_id}, str(true.argmax())
        holds.append(len(untold) == case.trials if case.spread == 0 else truly in untold)
        close_holds.append(len(near) == case.trials if case.spread == 0 else truly in near)
        sizes.append(len(untold))
        close_sizes.append(len(near))
    return (
        f"images={case.images} trials={case.trials} spread={case.spread} holds={np.mean(holds):.3f} "
        f"size={np.mean(sizes):.1f} fixed_holds={np.mean(close_holds):.3f} fixed_size={np.mean(close_sizes):.1f}"
    )


def curve(kind: str, epochs: int) -> npt.NDArray[np.float64]:
    """True accuracies after each epoch."""
    place = np.arange(1, epochs + 1)
    rising = 0.75 - 0.35 * np.exp(-place / (epochs / 6))
    curves: dict[str, npt.NDArray[np.float64]] = {
        "flat": np.full(epochs, 0.75),
        "rising": rising,
        "overfitting": rising - 0.04 * np.maximum(0, place - epochs / 2) / epochs,
        "wavering": rising + 0.02 * np.sin(place * 2.4),
    }
    return curves[kind]


def out_of_bag(right: Right, random: np.random.Generator) -> float:
    """The accuracy of the epoch that a bootstrap sample of the images chooses, on the images outside of it."""
    found = []
    for _ in range(BAGS):
        drawn = random.integers(right.shape[1], size=right.shape[1])
        outside = np.setdiff1d(np.arange(right.shape[1]), drawn)
        found.append(right[right[:, drawn].mean(axis=1).argmax()][outside].mean())
    return float(np.mean(found))


def optimism(kind: str, images: int, epochs: int, studies: int) -> str:
    """One line of the second part: the true optimism and the estimates of it, as means over studies."""
    true, rows = curve(kind, epochs), []
    for seed in range(studies):
        random = np.random.default_rng((seed, images, epochs))
        right = answers_of(true, images, EPOCHS_SHARED, random)
        found = best_epoch(right)
        accuracies = right.mean(axis=1)
        # The images of a study are easy or hard for all epochs: their mean error, 0 on average, only adds noise.
        own = found.chosen - true[accuracies.argmax()] - (accuracies - true).mean()
        rows.append((own, found.optimism, found.chosen - found.last, found.chosen - out_of_bag(right, random)))
    values = np.array(rows)
    means = values.mean(axis=0)
    bias = f"truth={means[0]:.4f} none=0 halves={means[1]:.4f} last={means[2]:.4f} out_of_bag={means[3]:.4f}"
    return f"curve={kind} images={images} epochs={epochs} {bias}"


@dataclass(frozen=True, kw_only=True)
class Options:
    """Simulate studies."""

    studies: int = 500
    """Simulated studies per line; the second part has 2 for 5 of them."""


def main() -> None:
    """Print both parts."""
    studies = tyro.cli(Options).studies
    print("which trials cannot be told from the best one (spread 0: how often no trial is told apart)")
    for case in CASES:
        print(told_apart(case, studies), flush=True)
    print("by how much the score of the best epoch is too high")
    for kind in ("flat", "rising", "overfitting", "wavering"):
        for images in (300, 1000):
            for epochs in (9, 27):
                print(optimism(kind, images, epochs, 2 * studies // 5), flush=True)


if __name__ == "__main__":
    main()
