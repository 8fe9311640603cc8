"""The learning rate at which a side of a comparison is fair: the best of several, by validation accuracy."""

import statistics
from collections.abc import Mapping
from typing import Any


def rate_name(name: str, rate: float) -> str:
    """The name of the side ``name`` at one learning rate."""
    return f"{name}_lr_{rate:g}"


def best_rate(name: str, rows: Mapping[float, Mapping[int, Mapping[str, Any]]]) -> float:
    """The rate whose trainings, by seed, have the best mean validation accuracy; prints all means of side ``name``."""
    means = {rate: statistics.mean(row["val"] for row in found.values()) for rate, found in rows.items()}
    best = max(means, key=lambda rate: means[rate])
    listed = ", ".join(f"{rate:g}: {mean:.4f}" for rate, mean in means.items())
    print(f"{name} has the learning rate {best:g} (validation accuracies {listed})")
    return best
