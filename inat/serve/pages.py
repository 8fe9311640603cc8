"""Render the pages: each is a template in html/, around which base.html stands."""

import time
from datetime import datetime
from functools import cache
from pathlib import Path
from urllib.parse import quote

import jinja2
from markupsafe import Markup

from analysis.escaping import LAYOUT, printable
from analysis.stats.encode import label_of
from inat.serve.files import PLOTLY, address_of

HERE = Path(__file__).parent / "html"
SMALL, LARGE = 1e-3, 1e4  # between them, a metric has four decimals


def render_page(template: str, *, tag: str, pause: int, made: float = 0.0, **values: object) -> str:
    """One page as HTML; ``made`` is when its content was read, in seconds since 1970, by default now."""
    return _environment().get_template(template).render(tag=tag, pause=pause, made=made or time.time(), **values)


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        autoescape=True, finalize=_printable, loader=jinja2.FileSystemLoader(HERE), undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {"metric": metric, "moment": moment, "part": lambda text: quote(str(text), safe="")}
    environment.filters |= {"setting": label_of, "text": lambda text: Markup.escape(printable(str(text), LAYOUT))}
    environment.globals |= {"file": address_of, "plotly": address_of(PLOTLY)}
    return environment


def _printable(value: object) -> object:
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def metric(value: float | None) -> str:
    """A value of a metric, with four decimals unless it is very small or large.

    >>> metric(0.98765), metric(None), metric(1e-7)
    ('0.9877', '-', '1e-07')
    """
    if value is None or value != value:
        return "-"
    return f"{value:.4f}" if value == 0 or SMALL <= abs(value) < LARGE else f"{value:.4g}"


def moment(text: str) -> str:
    """A time of trials.csv to the minute, in the time zone of this machine; the text itself if it is no time.

    >>> moment("yesterday")
    'yesterday'
    """
    try:
        return datetime.fromisoformat(text).astimezone().strftime("%Y-%m-%d %H:%M")
    except ValueError:
        return text or "-"
