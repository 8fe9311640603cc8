"""The tables and the result line of benchmarks/accuracy.py."""

import itertools
import statistics
from collections.abc import Iterator, Mapping
from typing import Any

from intervals import Mean, paired

Found = Mapping[str, Mapping[int, Mapping[str, Any]]]  # the numbers of each training, by side and seed
BASES = ("published", "published_lr", "plain_resnet")  # what other sides are compared with


def metric_of(found: Found) -> str:
    """The accuracy to compare: on the test split where it was looked at."""
    return "test" if all("test" in row for rows in found.values() for row in rows.values()) else "val"


def column(rows: Mapping[int, Mapping[str, Any]], name: str) -> dict[int, float]:
    """One number of each training, by seed."""
    return {seed: row[name] for seed, row in rows.items() if name in row}


def comparisons(found: Found) -> Iterator[tuple[str, str, list[float]]]:
    """Each pair of a side and a base before it, with the gains in points paired by seed."""
    metric, sides = metric_of(found), list(found)
    for base in (side for side in BASES if side in found):
        for side in sides:
            if side not in BASES[: BASES.index(base) + 1]:
                gains = paired(column(found[side], metric), column(found[base], metric))
                yield side, base, [100 * gain for gain in gains]


def print_table(found: Found, count: int) -> None:
    """Print mean accuracies, median seconds, and the gains over the bases."""
    metric = metric_of(found)
    print(f"\n{count or 'all'} photos")
    for side, rows in found.items():
        accuracies = (f"{name} {Mean.of(list(column(rows, name).values())).text()}" for name in ("val", "test")
                      if column(rows, name))  # fmt: skip
        others = ("seconds", "cpu", "epochs", "parameters", "trials")
        medians = (f"{name} {_median(rows, name):,.5g}" for name in others if column(rows, name))
        print(f"{side:14}", *accuracies, *medians)
    for side, base, gains in comparisons(found):
        longer, busier = (_median(found[side], name) / _median(found[base], name) for name in ("seconds", "cpu"))
        print(
            f"{side:14} {Mean.of(gains).text('+.1f')} points of {metric} accuracy over {base}, in {longer:.2f} times "
            f"the seconds and {busier:.2f} times the processor seconds"
        )


def print_curve(found: Mapping[int, Found]) -> None:
    """Print the learning curve of each side, and what more photos gave, paired by seed."""
    metric = metric_of(next(iter(found.values())))
    print("\nLearning curve")
    for side in next(iter(found.values())):
        for count, results in found.items():
            accuracy = Mean.of(list(column(results[side], metric).values()))
            print(f"{side:14} {count:6} photos: {metric} {accuracy.text()}")
        for fewer, more in itertools.pairwise(found):
            gains = paired(column(found[more][side], metric), column(found[fewer][side], metric))
            points = Mean.of([100 * gain for gain in gains]).text("+.1f")
            print(f"{side:14} {points} points from {fewer} to {more} photos")


def result_line(found: Mapping[int, Found]) -> str:
    """The last line: means with their intervals, gains in points, median seconds."""
    fields: list[str] = []
    for count, results in found.items():
        suffix = f"_{count}" if count else ""
        for side, rows in results.items():
            for name in ("val", "test"):
                if values := list(column(rows, name).values()):
                    fields.append(Mean.of(values).fields(f"{side}{suffix}_{name}"))
            fields += [f"{side}{suffix}_{name}={_median(rows, name):.4g}" for name in ("seconds", "cpu")]
        for side, base, gains in comparisons(results):
            fields.append(Mean.of(gains).fields(f"{side}{suffix}_over_{base}", "+.3g"))
    return " ".join(["result:", *fields])


def _median(rows: Mapping[int, Mapping[str, Any]], name: str) -> float:
    return statistics.median(column(rows, name).values())
