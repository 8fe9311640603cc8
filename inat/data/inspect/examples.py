"""Pictures of the page: examples of each class, pairs of copies, the darkest and the brightest images."""

import numpy as np
import pandas as pd
from PIL import Image

from analysis.report.document import Gallery, Picture
from analysis.report.sections.data import name_pair, to_picture
from analysis.schema import CLASS, COPY_KIND, COPY_SET, LEFT_OUT, SPLIT
from inat.data.inspect.collect import Collected
from inat.data.inspect.facts import extreme_rows

# A page of 200 classes stays below 3 MB: pictures are written as text, which makes them a third larger.
EXAMPLE_BYTES = 1_500_000
MAX_EXAMPLES, MAX_CLASSES = 10, 400
SIDE, SMALL_SIDE, FEW_CLASSES = 96, 64, 40
COPY_SETS, EXTREMES = 24, 8
QUALITY = 75
TEXT = 60  # characters of a name in a caption


def example_gallery(found: Collected) -> Gallery | None:
    """Images of each class: the first of every class, then the second, and so on until the page is large enough."""
    rows = {label: _spread(found, label) for label in range(len(found.classes))}
    labels = [label for label in rows if rows[label]][:MAX_CLASSES]
    side = SIDE if len(labels) <= FEW_CLASSES else SMALL_SIDE
    chosen: dict[int, list[Picture]] = {label: [] for label in labels}
    spent = 0
    for turn in range(MAX_EXAMPLES):
        for label in labels:
            if turn < len(rows[label]) and spent < EXAMPLE_BYTES:
                picture = as_picture(found, rows[label][turn], side)
                chosen[label].append(picture)
                spent += len(picture.content)
    counts = np.bincount(found.labels[found.usable], minlength=len(found.classes))
    shown = [(f"{found.classes[label]}: {counts[label]:,} photos", chosen[label]) for label in labels if chosen[label]]
    left = len(found.classes) - len(shown)
    note = "As the networks see them: scaled to a square."
    note += f" {left:,} classes are not shown." if left else ""
    return Gallery("examples", "Examples of each class", shown, note, len(labels) > FEW_CLASSES) if shown else None


def _spread(found: Collected, label: int) -> list[int]:
    """Rows of some images of a class, spread over the list of its files: neighbours may be of one series."""
    rows = np.flatnonzero(found.usable & (found.labels == label))
    count = min(MAX_EXAMPLES, len(rows))
    return [int(rows[place]) for place in (np.arange(count) * len(rows)) // max(1, count)]


def copy_gallery(found: Collected) -> Gallery | None:
    """The first two images of each set of copies, those in two classes or splits first."""
    tables = [table for _, table in found.copies.groupby(COPY_SET, sort=False)]
    shown = []
    for table, rows in zip(tables[:COPY_SETS], found.copy_rows, strict=False):
        second = contrasting(table)
        pair = table.iloc[[0, second]]
        classes, splits = (_short(" and ".join(dict.fromkeys(pair[name]))) for name in (CLASS, SPLIT))
        pictures = [as_picture(found, row, SIDE) for row in (rows[0], rows[second])]
        shown.append((f"{pair[COPY_KIND].iloc[1]}, {classes}: {splits}; {name_pair(pair)}", pictures))
    rest = len(found.copy_rows) - len(shown)
    note = f"Two photos of each set. Photos {LEFT_OUT} are in no split."
    note += f" {rest:,} more sets are in the table." if rest > 0 else ""
    return Gallery("copies", "Copies side by side", shown, note, narrow=True) if shown else None


def extreme_gallery(found: Collected) -> Gallery | None:
    """The darkest and the brightest images."""
    rows: list[tuple[str, list[Picture]]] = []
    for caption, extreme in zip(("darkest", "brightest"), extreme_rows(found, EXTREMES), strict=True):
        if len(extreme):
            rows.append((caption, [as_picture(found, int(row), SIDE) for row in extreme]))
    return Gallery("extremes", "Darkest and brightest photos", rows) if rows else None


def contrasting(table: pd.DataFrame) -> int:
    """The position of the copy that differs most from the first of its set: in class, else in split, else any."""
    first, others = table.iloc[0], table.iloc[1:]
    for column in (CLASS, SPLIT):
        differs = np.flatnonzero(others[column].ne(first[column]))
        if len(differs):
            return int(differs[0]) + 1
    return 1


def as_picture(found: Collected, row: int, side: int) -> Picture:
    """An image of the store at ``side`` px, with its class and name as the text for people who do not see it."""
    image = Image.fromarray(np.ascontiguousarray(found.image(row)))
    # A scan of 8 x 8 pixels keeps its sharp edges.
    method = Image.Resampling.NEAREST if image.width <= side // 2 else Image.Resampling.BILINEAR
    name = f"{found.classes[found.labels[row]]}: {_short(found.names[row])}"
    return to_picture(image.resize((side, side), method), name, QUALITY)


def _short(text: str) -> str:
    """The end of a long name, where paths differ."""
    return text if len(text) <= TEXT else f"…{text[1 - TEXT :]}"
