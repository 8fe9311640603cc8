"""What --prefer-cheaper costs in accuracy and saves, in simulated studies whose true accuracies are known.

    python benchmarks/prefer_cheaper.py            # some seconds

A study has 100 trials with true accuracies around 0.7, of standard deviation "spread", and costs that spread
log-normally over about two orders of magnitude; "related" is the correlation of accuracy and log cost. Each trial is
measured on as many validation images, each answer at random by the true accuracy. Rules: "best" takes the highest
measured accuracy; "noise" the cheapest within one standard error of it, as --prefer-cheaper noise; "untold" the
cheapest that a z test with Holm's correction cannot tell from it.

Columns: mean true accuracy below the truly best trial; mean below what "best" takes, and its 95 % quantile over the
studies; median cost as a part of that of "best". The result line has the second and the fourth.
"""

from dataclasses import dataclass

import numpy as np
import tyro

from analysis.stats.pairs import compare_shares
from analysis.stats.resampling import CONFIDENCE, holm

MEAN, LOG_COST = 0.7, 1.2
RULES = ("best", "noise", "untold")


@dataclass(frozen=True, kw_only=True)
class Options:
    """Simulate studies."""

    studies: int = 1000
    trials: int = 100
    images: tuple[int, ...] = (300, 1000, 5000)
    spreads: tuple[float, ...] = (0.01, 0.05)
    related: tuple[float, ...] = (0.0, 0.5)


def chosen(measured: np.ndarray, cost: np.ndarray, images: int) -> dict[str, int]:
    """The trial that each rule takes."""
    best = int(measured.argmax())
    error = np.sqrt(measured[best] * (1 - measured[best]) / images)
    others = np.delete(np.arange(len(measured)), best)
    counts = np.full(len(others), float(images))
    p = np.array(holm(compare_shares(measured[best], float(images), measured[others], counts)["p_value"].tolist()))
    sets = {
        "best": np.array([best]),
        "noise": np.flatnonzero(measured >= measured[best] - error),
        "untold": np.append(others[~(p <= 1 - CONFIDENCE)], best),
    }
    return {rule: int(found[cost[found].argmin()]) for rule, found in sets.items()}


def study(options: Options, images: int, spread: float, related: float, rng: np.random.Generator) -> np.ndarray:
    """Per rule: true accuracy below the truly best trial, and log of the cost as a multiple of that of "best"."""
    shared, own = rng.normal(size=(2, options.trials))
    true = np.clip(MEAN + spread * shared, 0.01, 0.99)
    cost = np.exp(LOG_COST * (related * shared + np.sqrt(1 - related**2) * own))
    found = chosen(rng.binomial(images, true) / images, cost, images)
    return np.array(
        [[true.max() - true[found[rule]], np.log(cost[found[rule]] / cost[found["best"]])] for rule in RULES]
    )


def main() -> None:
    """Print a row per setting, then the result line."""
    options, fields = tyro.cli(Options), []
    print("images spread related rule    below truly best     below best    95 % of studies    cost")
    for images in options.images:
        for spread in options.spreads:
            for related in options.related:
                rng = np.random.default_rng([images, int(1e4 * spread), int(10 * related)])
                runs = np.array([study(options, images, spread, related, rng) for _ in range(options.studies)])
                for at, rule in enumerate(RULES):
                    lost = runs[:, at, 0]
                    more, ratio = lost - runs[:, 0, 0], float(np.exp(np.median(runs[:, at, 1])))
                    numbers = f"{lost.mean():17.4f} {more.mean():14.4f} {np.quantile(more, 0.95):18.4f} {ratio:7.2f}"
                    print(f"{images:6d} {spread:6g} {related:7g} {rule:6s} {numbers}")
                    if rule != "best":
                        fields.append(f"{rule}_{images}_{spread:g}_{related:g}={more.mean():.4f}/{ratio:.2f}")
    print("result: " + " ".join(fields))


if __name__ == "__main__":
    main()
