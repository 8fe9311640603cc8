"""A report as one page that needs no network and no other file."""

import json
from pathlib import Path

import jinja2
import plotly.offline
from markupsafe import Markup, escape

from analysis.figures.style import svg_text
from analysis.markdown import rounded
from analysis.report.model import Picture, Report, Table
from analysis.stats.encode import is_number

HERE = Path(__file__).parent
LONG = 40  # characters of a value that is given room
MOST_ROWS = 500  # of a table in the page; its CSV has them all


def render(report: Report) -> str:
    """The page as HTML; everything it needs is in it, and it may load nothing else."""
    environment = jinja2.Environment(
        autoescape=True, loader=jinja2.FileSystemLoader(HERE), undefined=jinja2.StrictUndefined
    )
    environment.tests["picture"] = lambda item: isinstance(item, Picture)
    plots = {p.name: json.loads(p.interactive.to_json()) for p in report.pictures if p.interactive is not None}
    for plot in plots.values():
        plot["layout"].pop("template", None)  # the page has colours of its own
    return environment.get_template("page.html").render(
        report=report,
        style=_file("page.css"),
        script=_file("page.js"),
        plotly=Markup(plotly.offline.get_plotlyjs()) if plots else "",
        plots=_json(plots) if plots else "",
        data=_json(report.data),
        svg=_svg,
        table=_table,
    )


def _file(name: str) -> Markup:
    return Markup((HERE / name).read_text(encoding="utf-8"))


def _json(content: object) -> Markup:
    """JSON that cannot end the script element which it stands in."""
    return Markup(json.dumps(content, separators=(",", ":")).replace("<", "\\u003c"))


def _svg(picture: Picture) -> Markup:
    drawing = svg_text(picture.figure, picture.name)
    return Markup(drawing.replace("<svg ", f'<svg role="img" aria-label="{escape(picture.alt)}" ', 1))


def _table(table: Table) -> Markup:
    if not len(table.frame):
        return Markup("<p>none</p>")
    shown = rounded(table.frame.head(MOST_ROWS))
    numeric = [is_number(table.frame[name]) for name in table.frame]
    head = "".join(_cell("th", name, number) for name, number in zip(shown, numeric, strict=True))
    rows = "".join(
        "<tr>" + "".join(_cell("td", value, number) for value, number in zip(row, numeric, strict=True)) + "</tr>"
        for row in shown.itertuples(index=False)
    )
    more = len(table.frame) - len(shown)
    rest = f'<p class="note">and {more:,} rows more; --csv writes them all</p>' if more > 0 else ""
    return Markup(f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>{rest}")


def _cell(tag: str, value: object, number: bool) -> str:
    text = str(value).replace("_", " ") if tag == "th" else str(value)
    kind = ' class="number"' if number else (' class="long"' if len(text) > LONG else "")
    return f"<{tag}{kind}>{escape(text)}</{tag}>"
