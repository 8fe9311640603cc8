"""Render a report as one HTML page that needs no network and no other file."""

import base64
import gzip
import hashlib
import json
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import jinja2
import plotly.offline
from markupsafe import Markup, escape

from analysis.escaping import printable
from analysis.figures.style import svg_text
from analysis.markdown import as_text_table, csv_text
from analysis.report.document import Gallery, Picture, Report, ReportFigure, Section, Table
from analysis.stats.encode import is_number

HERE = Path(__file__).parent
LONG_TEXT = 40  # characters from which a cell gets a minimum width
MAX_ROWS = 500  # of a table in the page; the CSV file has all rows
# In this order.
SCRIPTS = ("page.choices.js", "page.save.js", "page.selection.js", "page.trials.js", "page.draw.js", "page.js")
DIGITS = 6  # of numbers in the data of figures; more of them would be a tenth of a page
TRIALS = "best"  # the table of a report in whose place the page shows that of the selected trials


@dataclass(frozen=True, slots=True)
class Drawing:
    """The figures as SVG and the tables as HTML, by name."""

    figures: dict[str, Markup] = field(default_factory=dict)
    tables: dict[str, Markup] = field(default_factory=dict)


def draw_section(section: Section, drawing: Drawing) -> None:
    """Draw the figures and tables of a section."""
    for item in section.items:
        if isinstance(item, ReportFigure):
            drawing.figures[item.name] = _svg(item)
        elif isinstance(item, Table):
            drawing.tables[item.name] = _table(item)


@dataclass(frozen=True, slots=True)
class PageParts:
    """A report as texts for a page: the links to its sections and the sections in HTML, ``plots`` and ``data`` in JSON.

    ``plots`` is empty for a report without interactive figures.
    """

    title: str
    nav: Markup
    main: Markup
    plots: Markup
    data: Markup


def page_parts(report: Report, drawing: Drawing | None = None) -> PageParts:
    """The parts of a page that shows ``report``, for one file or for a page that is refreshed.

    ``drawing``: the figures and tables of all sections, if they have been drawn.
    """
    if drawing is None:
        drawing = Drawing()
        for section in report.sections:
            draw_section(section, drawing)
    environment = _environment()
    content = {
        "report": report, "picture": _picture, "linked_table": TRIALS if report.data.get("parameters") else None,
        "svg": lambda figure: drawing.figures[figure.name], "table": lambda table: drawing.tables[table.name],
    }  # fmt: skip
    plots = {p.name: json.loads(p.interactive.to_json()) for p in report.figures if p.interactive is not None}
    for plot in plots.values():
        plot["layout"].pop("template", None)  # the page sets its own colours
    return PageParts(
        printable(f"{report.headline.title}: {report.kind}"),
        Markup(environment.get_template("page.nav.html").render(content)),
        Markup(environment.get_template("page.main.html").render(content)),
        json_text(plots) if plots else Markup(),
        json_text(report.data | _exports(report)),
    )


def _packed_content(parts: PageParts) -> tuple[Markup, Markup]:
    """The content of the page's ``plots`` and ``data``: the figures and the trials packed, a third of their size."""
    data = json.loads(parts.data)
    exports = json_text({"exports": data.pop("exports", "")})
    return (_packed(f'{{"plots":{parts.plots},"data":{json.dumps(data)}}}') if parts.plots else Markup(), exports)


def render(report: Report, drawing: Drawing | None = None) -> str:
    """The page as HTML. It contains everything it needs; its content security policy forbids loading anything.

    ``drawing``: the figures and tables of all sections, if they have been drawn.
    """
    parts = page_parts(report, drawing)
    plots, exports = _packed_content(parts)
    script, library = page_script(), plotly.offline.get_plotlyjs() if parts.plots else ""
    return (
        _environment()
        .get_template("page.html")
        .render(
            report=report,
            parts=parts,
            plots=plots,
            exports=exports,
            style=_file("page.css"),
            script=script,
            plotly=_packed(library) if library else "",
            script_hashes=Markup(" ".join(_hash(text) for text in (library, script) if text)),
        )
    )


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        autoescape=True, finalize=_printable, loader=jinja2.FileSystemLoader(HERE), undefined=jinja2.StrictUndefined
    )
    environment.tests["figure"] = lambda item: isinstance(item, ReportFigure)
    environment.tests["gallery"] = lambda item: isinstance(item, Gallery)
    return environment


def _printable(value: object) -> object:
    """Texts of the page without control characters; Markup, such as its style and scripts, stays as it is."""
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _file(name: str) -> Markup:
    return Markup((HERE / name).read_text(encoding="utf-8"))


def page_script() -> Markup:
    """The page's script: its files in one function, so that they share their names and leave none behind."""
    parts = "\n".join(_file(name) for name in SCRIPTS)
    return Markup(f'"use strict";\n(() => {{\n{parts}}})();\n')


@cache
def _packed(text: str) -> Markup:
    """Base64 of the gzip of ``text``: 2 MB for the 4.7 MB of plotly.js, which page.js unpacks."""
    return Markup(base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode())


def _exports(report: Report) -> dict[str, str]:
    """The data of the figures as CSV, by name, in packed JSON; the page unpacks it when the user saves one."""
    tables = {figure.name: csv_text(figure.data, DIGITS) for figure in report.figures if figure.data is not None}
    return {"exports": _packed(json.dumps(tables))} if tables else {}


def _hash(script: str) -> str:
    """What a content security policy allows to run: this script, and no other that got into the page."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def json_text(content: object) -> Markup:
    """JSON in which no text can close the surrounding script element."""
    return Markup(json.dumps(content, separators=(",", ":")).replace("<", "\\u003c"))


def _svg(figure: ReportFigure) -> Markup:
    drawing = svg_text(figure.figure, figure.name)
    return Markup(drawing.replace("<svg ", f'<svg role="img" aria-label="{escape(printable(figure.alt))}" ', 1))


def _picture(picture: Picture) -> Markup:
    content = base64.b64encode(picture.content).decode()
    return Markup('<img src="data:image/jpeg;base64,{}" width="{}" height="{}" alt="{}">').format(
        content, picture.width, picture.height, printable(picture.alt)
    )


def _table(table: Table) -> Markup:
    if not len(table.frame):
        return Markup("<p>none</p>")
    shown = as_text_table(table.frame.head(MAX_ROWS))
    numeric = [is_number(table.frame[name]) for name in table.frame]
    head = "".join(_cell("th", name, number) for name, number in zip(shown, numeric, strict=True))
    rows = "".join(
        "<tr>" + "".join(_cell("td", value, number) for value, number in zip(row, numeric, strict=True)) + "</tr>"
        for row in shown.itertuples(index=False)
    )
    more = len(table.frame) - len(shown)
    hint = f'<p class="note">{more:,} more rows; --csv writes all of them</p>' if more > 0 else ""
    return Markup(f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>{hint}")


def _cell(tag: str, value: object, number: bool) -> str:
    text = str(value).replace("_", " ") if tag == "th" else str(value)
    kind = ' class="number"' if number else (' class="long"' if len(text) > LONG_TEXT else "")
    return f"<{tag}{kind}>{escape(printable(text))}</{tag}>"
