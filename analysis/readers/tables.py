"""CSV files that may be half-written or damaged: the rows that can be read, and the places of those that cannot."""

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from analysis.readers.frames import Broken


def read_table(
    path: Path, place: str, broken: Broken, numeric: Sequence[str] = (), needs_line_end: bool = True
) -> pd.DataFrame:
    """The rows of a CSV file that have all their fields, and numbers in ``numeric``; its index is their line numbers.

    ``needs_line_end``: a last line without one is half-written, although it may have all its fields, the last one cut.
    """
    text = path.read_bytes().decode("utf-8-sig", errors="replace").replace("\r\n", "\n")
    if needs_line_end and text and not text.endswith("\n"):
        text, _, torn = text.rpartition("\n")
        broken.append((f"{place} line {text.count(chr(10)) + 2 if text else 1}", f"half-written: {torn[:80]}"))
    numbers, rows = _whole_rows(text, place, broken)
    if not rows:
        return pd.DataFrame()
    # Only what is empty is missing: "None" and "NA" may be categories.
    table = pd.read_csv(
        io.StringIO("\n".join(rows)), keep_default_na=False, na_values=[""], low_memory=False, lineterminator="\n",
        skip_blank_lines=False,
    )  # fmt: skip
    table.index = pd.Index(numbers[1:])
    return with_numbers(table, numeric, place, broken)


def _whole_rows(text: str, place: str, broken: Broken) -> tuple[list[int], list[str]]:
    """Line numbers and text of the rows with as many fields as the first one."""
    if '"' not in text:
        found: Iterable[tuple[int, str, int]] = (
            (number, line, line.count(",") + 1) for number, line in enumerate(text.split("\n"), start=1) if line
        )
    else:
        found = _quoted_rows(text)
    numbers: list[int] = []
    rows: list[str] = []
    width = 0
    for number, row, fields in found:
        width = width or fields
        if fields == width:
            numbers.append(number)
            rows.append(row)
        else:
            broken.append((f"{place} line {number}", f"{fields} fields where there are {width} columns"))
    return numbers, rows


def _quoted_rows(text: str) -> list[tuple[int, str, int]]:
    """Number of the last line, text and number of fields of each row, some of which may hold line ends."""
    rows = _parse([(0, text)])
    if len({len(row) for _, row in rows}) > 1:
        # A quote that is never closed takes all lines to the next one; line by line only its own is lost.
        rows = _parse(enumerate(text.split("\n")))
    return [(number, _written(row), len(row)) for number, row in rows]


def _parse(parts: Iterable[tuple[int, str]]) -> list[tuple[int, list[str]]]:
    rows = []
    for before, part in parts:
        reader = csv.reader(io.StringIO(part, newline=""))
        rows += [(before + reader.line_num, row) for row in reader if row]
    return rows


def _written(row: list[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(row)  # it quotes fields that hold its line end
    return text.getvalue()[:-1]


def with_numbers(table: pd.DataFrame, numeric: Sequence[str], place: str, broken: Broken) -> pd.DataFrame:
    """``table`` with numbers in the ``numeric`` columns; rows with anything else there are broken."""
    wrong = pd.Series(False, table.index)
    for name in (name for name in numeric if name in table and not pd.api.types.is_numeric_dtype(table[name])):
        values = pd.to_numeric(table[name], errors="coerce")
        bad = values.isna() & table[name].notna() & table[name].astype("str").str.lower().ne("nan")
        broken += [
            (f"{place} line {line}", f"{name} is no number: {table[name][line]!s:.40}") for line in table.index[bad]
        ]
        table[name] = values
        wrong |= bad
    return table[~wrong]
