"""Frames as text, for the console, Markdown and pages alike."""

from typing import Any

import pandas as pd

from analysis.stats.encode import is_number, label_of

SHORT = 6  # characters of a number that was chosen rather than measured


def rounded(table: pd.DataFrame) -> pd.DataFrame:
    """The table as text, nothing as "-": settings such as 0.0001 as they are, other fractions to three digits."""
    return table.apply(lambda column: column.map(_setting if _short(column) else _text))


def _short(column: pd.Series) -> bool:
    """Whether they are numbers of a few digits, which somebody chose."""
    return is_number(column) and all(len(f"{float(value):.9g}") <= SHORT for value in column.dropna())


def _setting(value: Any) -> str:
    return "-" if pd.isna(value) else label_of(value)


def _text(value: object) -> str:
    if value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and value != value):
        return "-"
    if isinstance(value, pd.Timestamp):
        return str(value.strftime("%Y-%m-%d %H:%M:%S"))
    if not isinstance(value, float) or value.is_integer():
        return str(value) if not isinstance(value, float) else f"{value:.0f}"
    return f"{value:.3f}" if abs(value) >= 0.001 else f"{value:.2g}"


def escaped(value: object) -> str:
    """A value as text that Markdown takes for text, on one line."""
    return " ".join(str(value).splitlines()).replace("|", "\\|").replace("<", "&lt;")


def markdown(table: pd.DataFrame) -> str:
    """The table in Markdown, or "none"."""
    if not len(table):
        return "none"
    text = rounded(table).map(escaped)
    return str(text.to_markdown(index=False, missingval="-", disable_numparse=True))


def duration(seconds: float) -> str:
    """Seconds as a reader says them: 42 s, 3 min 5 s, 2 h 10 min."""
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f"{rest} s"
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60:,} h {minutes % 60} min"
