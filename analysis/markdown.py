"""Format tables and numbers as text, for the console, Markdown files and HTML pages."""

import csv
import io
from collections.abc import Callable
from typing import Any

import pandas as pd

from analysis.escaping import csv_rows, escape_markdown, printable
from analysis.stats.encode import is_number, label_of

SETTING_LENGTH = 6  # characters of a number that was set, such as 0.0001, rather than measured


def as_text_table(table: pd.DataFrame) -> pd.DataFrame:
    """Format every value as text.

    Missing values become "-". Columns of short numbers, such as learning rates, keep all digits; other fractions are
    rounded to three digits.
    """
    return table.apply(lambda column: column.map(_format_setting if _is_setting(column) else _format_value))


def _is_setting(column: pd.Series) -> bool:
    """Whether all values are numbers of a few digits, as hyperparameters are."""
    return is_number(column) and all(len(f"{float(value):.9g}") <= SETTING_LENGTH for value in column.dropna())


def _format_setting(value: Any) -> str:
    return "-" if pd.isna(value) else label_of(value)


def _format_value(value: object) -> str:
    if value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and value != value):
        return "-"
    if isinstance(value, pd.Timestamp):
        return str(value.strftime("%Y-%m-%d %H:%M:%S"))
    if not isinstance(value, float) or value.is_integer():
        return str(value) if not isinstance(value, float) else f"{value:.0f}"
    return f"{value:.3f}" if abs(value) >= 0.001 else f"{value:.2g}"


def markdown_table(table: pd.DataFrame) -> str:
    """Format a table as Markdown; "none" if it has no rows.

    >>> print(markdown_table(study.trials[["trial_id", "learning_rate", "best_val_acc"]].head(2)))
    | trial_id   | learning_rate   | best_val_acc   |
    |:-----------|:----------------|:---------------|
    | t0000      | 0.0001          | 0.75           |
    | t0001      | 0.0001          | 0.941          |
    """
    return _table(table, escape_markdown)


def terminal_table(table: pd.DataFrame) -> str:
    r"""Format a table as ``markdown_table`` does for a terminal, which shows names as they are, without escapes.

    >>> print(terminal_table(pd.DataFrame({"claim": ["batch_norm=True < *x*"]})))
    | claim                 |
    |:----------------------|
    | batch_norm=True < *x* |
    """
    return _table(table, _one_line)


def _table(table: pd.DataFrame, as_cell: Callable[[object], str]) -> str:
    if not len(table):
        return "none"
    text = as_text_table(table).map(as_cell).rename(columns=as_cell)
    return str(text.to_markdown(index=False, missingval="-", disable_numparse=True))


def _one_line(value: object) -> str:
    return printable(" ".join(str(value).split()))


def csv_text(table: pd.DataFrame, digits: int | None = None) -> str:
    """Format a table as CSV in which no text is a formula; ``unescape_csv_cell`` returns the original texts.

    ``digits``: the significant digits of fractions, by default all of them.

    >>> csv_text(pd.DataFrame({"name": ["=1+1"], "lr": [-0.5]}))
    "name,lr\\n'=1+1,-0.5\\n"
    """
    form = None if digits is None else f"%.{digits}g"
    text = table.to_csv(index=False, lineterminator="\r\n", float_format=form)  # pandas formats numbers and dates
    return csv_rows(csv.reader(io.StringIO(text, newline="")))


def format_duration(seconds: float) -> str:
    """Format a number of seconds: 42 s, 3 min 5 s, 2 h 10 min.

    >>> format_duration(7800)
    '2 h 10 min'
    """
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f"{rest} s"
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60:,} h {minutes % 60} min"


def format_short_duration(seconds: float) -> str:
    """Format a number of seconds as ``format_duration`` does, but with two digits below ten seconds.

    >>> format_short_duration(0.1234), format_short_duration(75)
    ('0.12 s', '1 min 15 s')
    """
    return f"{seconds:.2g} s" if seconds < 10 else format_duration(seconds)
