"""Curves made of characters: a sparkline for a cell of a table, and a chart with axes."""

import math
from collections.abc import Sequence

BLOCKS = "▁▂▃▄▅▆▇█"
BRAILLE = 0x2800  # the empty pattern; one dot is one of these bits, by column and row of the 2 x 4 dots of a cell
DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
LABEL_WIDTH = 9


def sparkline(values: Sequence[float], width: int, *, ascii_only: bool = False) -> str:
    """A curve of at most ``width`` characters, from its own lowest to its own highest value.

    More values than characters: each character shows the last value of its share. A value that is not finite leaves a
    gap. In ASCII there are no blocks, so the curve is left out.

    >>> sparkline([0.1, 0.2, 0.4, 0.8], 8)
    '▁▂▄█'
    """
    if ascii_only or width <= 0 or not values:
        return ""
    if len(values) > width:
        values = [values[(i + 1) * len(values) // width - 1] for i in range(width)]
    low, high = _range(values)
    return "".join(" " if level is None else BLOCKS[level] for level in (_level(v, low, high, 8) for v in values))


def chart(values: Sequence[float], width: int, height: int, *, ascii_only: bool = False) -> list[str]:
    """``height`` lines of at most ``width`` characters: the curve, its highest and lowest value, and its epochs.

    Too little room, or no finite value: no lines.
    """
    columns, rows = width - LABEL_WIDTH - 1, height - 2
    if columns < 10 or rows < 2 or not any(map(math.isfinite, values)):
        return []
    low, high = _range(values)
    cells = _ascii_cells(values, columns, rows) if ascii_only else _braille_cells(values, columns, rows)
    labels = {0: label(high), rows - 1: label(low), rows // 2: label((low + high) / 2) if rows >= 5 else ""}
    side, corner, floor = ("|", "+", "-") if ascii_only else ("│", "└", "─")
    lines = [f"{labels.get(row, ''):>{LABEL_WIDTH}}{side}{cells[row]}" for row in range(rows)]
    last = str(len(values))
    lines.append(f"{'':{LABEL_WIDTH}}{corner}{floor * columns}")
    lines.append(f"{'':{LABEL_WIDTH}} 1{last:>{columns - 1}}" if len(values) > 1 else f"{'':{LABEL_WIDTH}} 1")
    return lines


def label(value: float) -> str:
    """A value of a metric in at most nine characters.

    >>> label(0.12345), label(1234.5), label(float("nan"))
    ('0.1235', '1.23e+03', 'nan')
    """
    return f"{value:.4f}" if abs(value) < 1000 else f"{value:.3g}"


def _range(values: Sequence[float]) -> tuple[float, float]:
    finite = [value for value in values if math.isfinite(value)]
    return (min(finite), max(finite)) if finite else (0.0, 0.0)


def _level(value: float, low: float, high: float, levels: int) -> int | None:
    """The level from 0 to ``levels`` - 1; a flat curve is in the middle. None for a value that is not finite."""
    if not math.isfinite(value):
        return None
    share = (value - low) / (high - low) if high > low else 0.5
    return min(levels - 1, int(share * levels))


def _places(values: Sequence[float], columns: int, levels: int) -> list[int | None]:
    """The level of the curve in each of ``columns``, with straight lines between the values."""
    low, high = _range(values)
    places: list[int | None] = []
    for column in range(columns):
        at = column * (len(values) - 1) / max(columns - 1, 1)
        left, share = int(at), at - int(at)
        ahead = values[min(left + 1, len(values) - 1)]
        value = values[left] if share == 0 else values[left] * (1 - share) + ahead * share
        places.append(_level(value, low, high, levels))
    return places


def _braille_cells(values: Sequence[float], columns: int, rows: int) -> list[str]:
    patterns = [[0] * columns for _ in range(rows)]
    before: int | None = None
    for x, level in enumerate(_places(values, 2 * columns, 4 * rows)):
        if level is not None:
            low, high = sorted((level, level if before is None else before))
            for y in range(low, high + 1):  # a steep line has no gaps
                from_top = 4 * rows - 1 - y
                patterns[from_top // 4][x // 2] |= DOTS[x % 2][from_top % 4]
        before = level
    return ["".join(chr(BRAILLE + bits) if bits else " " for bits in line) for line in patterns]


def _ascii_cells(values: Sequence[float], columns: int, rows: int) -> list[str]:
    cells = [[" "] * columns for _ in range(rows)]
    for x, level in enumerate(_places(values, columns, rows)):
        if level is not None:
            cells[rows - 1 - level][x] = "*"
    return ["".join(line) for line in cells]
