"""Frames as text, for the console, Markdown and pages alike."""

import pandas as pd


def rounded(table: pd.DataFrame) -> pd.DataFrame:
    """The table as text, fractions to three digits after the point, nothing as "-"."""
    return table.apply(lambda column: column.map(_text))


def _text(value: object) -> object:
    if value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and value != value):
        return "-"
    if isinstance(value, pd.Timestamp):
        return value.strftime("%Y-%m-%d %H:%M:%S")
    if not isinstance(value, float) or value.is_integer():
        return str(value) if not isinstance(value, float) else f"{value:.0f}"
    return f"{value:.3f}" if abs(value) >= 0.001 else f"{value:.2g}"


def markdown(table: pd.DataFrame) -> str:
    """The table in Markdown, or "none"."""
    return str(rounded(table).to_markdown(index=False, missingval="-", disable_numparse=True)) if len(table) else "none"


def duration(seconds: float) -> str:
    """Seconds as a reader says them: 42 s, 3 min 5 s, 2 h 10 min."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60:,} h {minutes % 60} min"
