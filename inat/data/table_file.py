"""Read a table of a stranger, a CSV, JSON-lines or Parquet file, as columns of texts."""

import codecs
import csv
import os
from collections.abc import Collection, Iterator
from itertools import chain
from pathlib import Path
from typing import TextIO

import pandas as pd

from analysis.files import check_regular, parse_json
from inat.errors import DataError

MAX_BYTES = 2_000_000_000  # of a table
SNIFFED_CHARACTERS = 8192  # of a CSV file, to find its separator
SEPARATORS = ",;\t|"


def read_table(place: Path, known: Collection[str]) -> pd.DataFrame:
    """The table in a file with its own column names; DataError for one that cannot be read as a table.

    ``known`` are names, in lower case, of which a CSV file should have one: they tell its separator.
    """
    try:
        check_regular(place)
        if place.stat().st_size > MAX_BYTES:
            raise DataError(f"{place} is larger than {MAX_BYTES // 10**9} GB; pass a table of the labels alone")
        return _parse(place, known)
    except FileNotFoundError as error:
        raise DataError(f"no table {place}; pass --labels with the path of a CSV file") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{place} is no text in UTF-8 ({error.reason}); save it as CSV in UTF-8") from error
    except DataError:
        raise
    except Exception as error:  # pandas and pyarrow raise nearly anything on a strange file
        reason = getattr(error, "strerror", None) or str(error).split("\n")[0] or type(error).__name__
        raise DataError(f"{place} cannot be read as a table ({reason}); expected columns path and label") from error


def _parse(place: Path, known: Collection[str]) -> pd.DataFrame:
    if place.suffix.lower() == ".parquet":
        return pd.read_parquet(place)
    with place.open(encoding=_encoding(place), newline="") as file:
        if place.suffix.lower() in (".jsonl", ".ndjson"):
            # As objects: pandas' own texts hold no name of a file that is not UTF-8.
            return pd.DataFrame(list(_json_rows(file, place)), dtype=object)
        return _read_csv(file, place, known)


def _encoding(place: Path) -> str:
    """UTF-8, or what the first bytes say: Excel saves "Unicode text" as UTF-16."""
    with place.open("rb") as file:
        start = file.read(2)
    return "utf-16" if start in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig"


def _json_rows(file: TextIO, place: Path) -> Iterator[dict[str, object]]:
    for number, line in enumerate(file, start=1):
        if line.strip():
            try:
                row, reason = parse_json(line), "no braces"
            except ValueError as error:
                row, reason = None, str(getattr(error, "msg", error))
            if not isinstance(row, dict):
                raise DataError(f"{place} has no JSON object in line {number} ({reason}); correct or remove the line")
            yield row


def _read_csv(file: TextIO, place: Path, known: Collection[str]) -> pd.DataFrame:
    """The rows below the first one; NA, None and null are texts, only an empty cell is missing.

    pandas would take the first column for an index if rows are longer than the header, or drop their ends.
    """
    start = file.read(SNIFFED_CHARACTERS)
    file.seek(0)
    separator = _separator(start, known)
    reader = csv.reader(file, delimiter=separator)
    rows = (row for row in reader if any(map(str.strip, row)))
    if (header := next(rows, None)) is None:
        raise pd.errors.EmptyDataError("it is empty")
    columns: list[list[str]] = [[] for _ in header]
    for row in rows:
        if any(map(str.strip, row[len(header) :])):
            raise DataError(
                f"{place} has {len(row)} cells in line {reader.line_num} and {len(header)} columns; put a text that "
                f"contains {separator!r} into double quotes"
            )
        for column, cell in zip(columns, chain(row, [""] * (len(header) - len(row))), strict=False):
            column.append(cell)
    return pd.DataFrame(dict(enumerate(columns)), dtype=object).set_axis(header, axis=1)


def _separator(start: str, known: Collection[str]) -> str:
    """The separator with which the first line has a ``known`` column, else the one that divides lines most evenly."""
    first = next(iter(start.splitlines()), "")
    for separator in SEPARATORS:
        names = next(csv.reader([first], delimiter=separator), [])
        if len(names) > 1 and any(name.strip().lower() in known for name in names):
            return separator
    try:
        # pandas looks at the first line only, in which it takes a letter for the separator if it is none of these.
        return csv.Sniffer().sniff(start, delimiters=SEPARATORS).delimiter
    except csv.Error:
        return ","


def as_texts(values: pd.Series, column: str, place: Path) -> list[str]:
    """The cells of a column as texts without blanks around; "" where a value is missing. DataError for other things."""
    return [_as_text(value, column, place) for value in values]


def _as_text(value: object, column: str, place: Path) -> str:
    if isinstance(value, bytes) or not pd.api.types.is_scalar(value):
        raise DataError(
            f"{place} has {str(value)[:40]!r} as {column}, which is no single value; each image needs one {column}"
        )
    if pd.isna(value):
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))  # labels with a missing value are floats in pandas
    text = str(value).strip()
    if "\0" in text or not _is_unicode(text):
        raise DataError(f"{place} has {text[:40]!r} as {column}, which contains no proper text; correct it")
    return text


def _is_unicode(text: str) -> bool:
    try:
        os.fsencode(text)  # which also takes names of files that are not UTF-8
    except UnicodeEncodeError:
        return False
    return True
