"""The section about a race of backbones: the probes, and what the leaders reached once they trained."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.escaping import printable, unescape_csv_cell
from analysis.files import read_bytes
from analysis.report.document import Item, Section, Table, section
from analysis.schema import (
    BACKBONE,
    BACKBONES_CSV,
    BEST_VAL_ACC,
    PROBE_COLUMNS,
    PROBE_HIGH,
    PROBE_LOW,
    PROBE_VALUE,
    RACE,
)
from analysis.study import StudyData
from analysis.wording import counted

MAX_BYTES, MAX_ROWS = 10_000_000, 2000
STRATEGY = "strategy"
CAVEAT = "A probe judges features as they are; once stages of a network train, the order may differ."


def backbones_section(study: Path, data: StudyData) -> list[Section]:
    """How a race chose the backbones of the study at ``study``; no section if it was chosen in another way."""
    if RACE not in data.info or not (study / BACKBONES_CSV).is_file():
        return []
    return [section("backbones", "Backbones", lambda: _items(study, data))]


def _items(study: Path, data: StudyData) -> list[Item]:
    try:
        probes = read_probes(study)
    except (OSError, ValueError, MemoryError) as error:
        return [f"Not shown: {BACKBONES_CSV} cannot be read ({getattr(error, 'strerror', None) or error})."]
    if probes.empty:
        return [f"Not shown: {BACKBONES_CSV} has no rows."]
    items: list[Item] = [f"{describe_probes(probes)} {CAVEAT}", Table("probes", "Probes of the backbones", probes)]
    trained = best_per_strategy(data, probes)
    if not trained.empty:
        items.append(Table("race", "Best result of each backbone and strategy", trained))
    return [*items, *skipped_items(data.info)]


def read_probes(study: Path) -> pd.DataFrame:
    """The probes of a study, the best first, with numbers as numbers; ValueError if the table is damaged."""
    content = read_bytes(study / BACKBONES_CSV, MAX_BYTES, inside=study)
    frame = pd.read_csv(
        io.BytesIO(content), dtype=str, keep_default_na=False, encoding_errors="backslashreplace", nrows=MAX_ROWS,
        on_bad_lines="skip", usecols=lambda name: name in PROBE_COLUMNS,
    )  # fmt: skip
    if missing := [name for name in PROBE_COLUMNS if name not in frame]:
        raise ValueError(f"it has no column {missing[0]}")
    frame[BACKBONE] = [printable(unescape_csv_cell(name)) for name in frame[BACKBONE]]
    numbers = [name for name in PROBE_COLUMNS if name != BACKBONE]
    return frame[list(PROBE_COLUMNS)].assign(**{name: pd.to_numeric(frame[name], errors="coerce") for name in numbers})


def describe_probes(probes: pd.DataFrame) -> str:
    """The best probe with its interval, and whether the second is within it.

    >>> columns = ("backbone", "linear_probe", "probe_low", "probe_high", "nearest_neighbours")
    >>> describe_probes(pd.DataFrame([("resnet50", 0.9, 0.85, 0.94, 0.8)], columns=columns))
    'resnet50 has the best linear probe (0.9000, 95 % interval 0.8500 to 0.9400) of 1 backbone.'
    """
    best = probes.iloc[0]
    interval = f"95 % interval {best[PROBE_LOW]:.4f} to {best[PROBE_HIGH]:.4f}"
    text = f"{best[BACKBONE]} has the best linear probe ({best[PROBE_VALUE]:.4f}, {interval}) of "
    text += f"{counted(len(probes), 'backbone')}."
    if len(probes) > 1:
        second = probes.iloc[1]
        inside = best[PROBE_LOW] <= second[PROBE_VALUE] <= best[PROBE_HIGH]
        place = "inside" if inside else "outside"
        text += f" The second, {second[BACKBONE]} with {second[PROBE_VALUE]:.4f}, lies {place} that interval."
    return text


def best_per_strategy(data: StudyData, probes: pd.DataFrame) -> pd.DataFrame:
    """The linear probe of each backbone that trained, and its best trial with each strategy; empty without trials."""
    trials = data.trials
    if not {BACKBONE, STRATEGY} <= set(trials.columns) or not trials[BEST_VAL_ACC].notna().any():
        return pd.DataFrame()
    known = trials.dropna(subset=[BEST_VAL_ACC])
    best = "max" if data.mode == "max" else "min"
    table = known.pivot_table(index=BACKBONE, columns=STRATEGY, values=BEST_VAL_ACC, aggfunc=best)
    table.index = pd.Index([printable(str(name)) for name in table.index], name=BACKBONE)
    table.columns = pd.Index([printable(str(name)) for name in table.columns])
    table.insert(0, PROBE_VALUE, probes.set_index(BACKBONE)[PROBE_VALUE].reindex(table.index))
    return table.sort_values(PROBE_VALUE, ascending=data.mode != "max", kind="stable").reset_index()


def skipped_items(info: Mapping[str, Any]) -> list[Item]:
    """A sentence about the backbones that were not probed."""
    race = info.get(RACE)
    skipped = race.get("skipped") if isinstance(race, Mapping) else None
    if not isinstance(skipped, Mapping) or not skipped:
        return []
    reasons = "; ".join(f"{printable(str(name))} ({printable(str(why))})" for name, why in skipped.items())
    return [f"Not probed: {reasons}."]
