"""Read CSV files that may be half-written or damaged: keep the complete rows and record the places of the others."""

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from analysis.escaping import unescape_csv_cell
from analysis.files import MAX_TABLE_BYTES, read_bytes
from analysis.readers.frames import ReadErrors

MAX_COLUMNS = 10_000  # pandas needs minutes and gigabytes for a million


def read_table(
    path: Path,
    place: str,
    read_errors: ReadErrors,
    numeric: Sequence[str] = (),
    needs_line_end: bool = True,
    inside: Path | None = None,
) -> pd.DataFrame:
    """The complete rows of a CSV file, indexed by line number.

    A row is complete if it has all fields, and a number in each of the ``numeric`` columns. ``needs_line_end``: treat a
    last line without a line end as half-written, since its last field may be cut. ``inside``: the folder that the file
    must not lead out of.

    Raises OSError if the file cannot be read, and ValueError for more than MAX_COLUMNS columns.
    """
    text = read_bytes(path, inside=inside).decode("utf-8-sig", errors="replace").replace("\r\n", "\n")
    if needs_line_end and text and not text.endswith("\n"):
        text, _, torn = text.rpartition("\n")
        read_errors.append((f"{place} line {text.count(chr(10)) + 2 if text else 1}", f"half-written: {torn[:80]}"))
    numbers, rows = _complete_rows(text, place, read_errors)
    if not rows:
        return pd.DataFrame()
    if (columns := len(next(csv.reader(rows[:1])))) > MAX_COLUMNS:
        raise ValueError(f"{path} has {columns:,} columns, more than the allowed {MAX_COLUMNS:,}; pass another file")
    # Only an empty field is a missing value: "None" and "NA" may be categories.
    table = pd.read_csv(
        io.StringIO("\n".join(rows)), keep_default_na=False, na_values=[""], low_memory=False, lineterminator="\n",
        skip_blank_lines=False,
    )  # fmt: skip
    table.index = pd.Index(numbers[1:])
    return parse_numbers(table, numeric, place, read_errors)


def _complete_rows(text: str, place: str, read_errors: ReadErrors) -> tuple[list[int], list[str]]:
    """Line numbers and texts of the rows that have as many fields as the header."""
    if '"' not in text:
        candidates: Iterable[tuple[int, str, int]] = (
            (number, line, line.count(",") + 1) for number, line in enumerate(text.split("\n"), start=1) if line
        )
    else:
        candidates = _quoted_rows(text)
    numbers: list[int] = []
    rows: list[str] = []
    width = 0
    for number, row, fields in candidates:
        width = width or fields
        if fields == width:
            numbers.append(number)
            rows.append(row)
        else:
            read_errors.append((f"{place} line {number}", f"{fields} fields instead of {width}"))
    return numbers, rows


def _quoted_rows(text: str) -> list[tuple[int, str, int]]:
    """Last line number, text and number of fields of each row; a quoted field may contain line ends."""
    rows = _parse([(0, text)])
    if len({len(row) for _, row in rows}) > 1:
        # A quote that is never closed swallows all lines up to the next quote. Parsed line by line, one row is lost.
        rows = _parse(enumerate(text.split("\n")))
    return [(number, _to_csv(row), len(row)) for number, row in rows]


def _parse(parts: Iterable[tuple[int, str]]) -> list[tuple[int, list[str]]]:
    """Parse each part, given as (number of lines before it, text), into (line number, fields)."""
    csv.field_size_limit(MAX_TABLE_BYTES)  # the texts are in memory already
    rows = []
    for before, part in parts:
        reader = csv.reader(io.StringIO(part, newline=""))
        rows += [(before + reader.line_num, row) for row in reader if row]
    return rows


def unescape(table: pd.DataFrame) -> pd.DataFrame:
    """The original texts of a table that `inat` wrote, where a text that looks like a formula has an apostrophe."""
    columns = {name: table[name] for name in table if not pd.api.types.is_numeric_dtype(table[name])}
    escaped = [name for name, column in columns.items() if column.astype("str").str.contains("'").any()]
    original = {name: columns[name].map(unescape_csv_cell, na_action="ignore") for name in escaped}
    return table.assign(**original).rename(columns=unescape_csv_cell)


def _to_csv(row: list[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(row)  # quotes fields that contain a line end
    return text.getvalue()[:-1]


def parse_numbers(table: pd.DataFrame, numeric: Sequence[str], place: str, read_errors: ReadErrors) -> pd.DataFrame:
    """Convert the ``numeric`` columns to numbers; drop and record the rows with any other text there."""
    invalid = pd.Series(False, table.index)
    for name in (name for name in numeric if name in table and not pd.api.types.is_numeric_dtype(table[name])):
        values = pd.to_numeric(table[name], errors="coerce")
        bad = values.isna() & table[name].notna() & table[name].astype("str").str.lower().ne("nan")
        read_errors += [
            (f"{place} line {line}", f"{name} is not a number: {table[name][line]!s:.40}") for line in table.index[bad]
        ]
        table[name] = values
        invalid |= bad
    return table[~invalid]
