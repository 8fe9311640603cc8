"""Pictures of the page: examples of each class, pairs of copies, the darkest and the brightest images."""

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

from analysis.report.document import Gallery, Picture
from analysis.schema import COPY_KIND, COPY_SET, LEFT_OUT, SPLIT
from inat.data.inspect.collect import Collected
from inat.data.inspect.facts import extreme_rows

# A page of 200 classes stays below 3 MB: pictures are written as text, which makes them a third larger.
EXAMPLE_BYTES = 1_500_000
MAX_EXAMPLES, MAX_CLASSES = 12, 400
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
    by_set = {number: rows for number, (_, rows) in enumerate(found.copies.groupby(COPY_SET, sort=False))}
    shown = []
    for number, rows in enumerate(found.copy_rows[:COPY_SETS]):
        table = by_set[number].iloc[:2]
        places = [
            f"{found.classes[found.labels[row]]} ({split})" for row, split in zip(rows, table[SPLIT], strict=False)
        ]
        caption = f"{table[COPY_KIND].iloc[-1]}: {' and '.join(_short(place) for place in places)}"
        shown.append((caption, [as_picture(found, row, SIDE) for row in rows[:2]]))
    rest = len(found.copy_rows) - len(shown)
    note = f"The first two photos of each set; '{LEFT_OUT}' photos are in no split."
    note += f" {rest:,} more sets are in the table." if rest > 0 else ""
    return Gallery("copies", "Copies side by side", shown, note, narrow=True) if shown else None


def extreme_gallery(found: Collected) -> Gallery | None:
    """The darkest and the brightest images."""
    rows: list[tuple[str, list[Picture]]] = []
    for caption, extreme in zip(("darkest", "brightest"), extreme_rows(found, EXTREMES), strict=True):
        if len(extreme):
            rows.append((caption, [as_picture(found, int(row), SIDE) for row in extreme]))
    return Gallery("extremes", "Darkest and brightest photos", rows) if rows else None


def as_picture(found: Collected, row: int, side: int) -> Picture:
    """An image of the store at ``side`` px, with its name and class as the text for people who do not see it."""
    image = Image.fromarray(np.ascontiguousarray(found.image(row)))
    # An enlarged scan of 8 x 8 pixels keeps its sharp edges.
    method = Image.Resampling.NEAREST if image.width <= side // 2 else Image.Resampling.BILINEAR
    buffer = io.BytesIO()
    image.resize((side, side), method).save(buffer, format="JPEG", quality=QUALITY, optimize=True)
    name = f"{found.classes[found.labels[row]]}: {_short(found.names[row])}"
    return Picture(buffer.getvalue(), name, side, side)


def _short(text: str, keep: Sequence[str] = ()) -> str:
    """The end of a long name, where paths differ."""
    return text if len(text) <= TEXT else f"…{text[1 - TEXT :]}"
