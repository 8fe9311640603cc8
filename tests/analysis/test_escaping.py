"""Any text that a stranger can name things stays text in each output format; Hypothesis looks for counterexamples."""

import csv
import io
import unicodedata
from html.parser import HTMLParser

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from rich.table import Table

from analysis.escaping import (
    JOINERS,
    UNPRINTABLE,
    escape_csv_cell,
    escape_markdown,
    escape_markdown_line,
    escape_plotly,
    printable,
    unescape_csv_cell,
)
from analysis.report.page import _cell
from analysis.terminal import PlainConsole
from inat.study.atomic_io import csv_lines

ESCAPE, OVERRIDE = "\x1b[31m", "\u202e"
MARKUP = (
    "<script>alert(1)</script> | `code` [link](http://host) ![image](x) *b* _i_ ~~s~~ $x$ &lt; \\| # - 1. > www.host"
)
# Mostly characters that mean something in a format; any other character now and then.
HOSTILE = st.text(
    st.one_of(st.sampled_from(f"{MARKUP}{ESCAPE}{OVERRIDE}\n\r\t =+-@;'\"\0\u2028\u200bé—漢"), st.characters())
)
MARKDOWN = MarkdownIt("gfm-like", {"linkify": False, "html": True})


class Page(HTMLParser):
    """The tags and the text of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)

    def handle_comment(self, data):
        self.tags.append("!--")

    def handle_data(self, data):
        self.text += data


def shown(text: str) -> str:
    """What a reader should see of a text."""
    return printable(" ".join(text.split())).strip()


@given(HOSTILE)
@example(f"{ESCAPE}a{OVERRIDE}b\x9b31m\x07\ud800")
def test_printable_text_has_no_control_characters_and_leaves_other_texts_alone(text):
    safe = printable(text)
    assert not [c for c in safe if unicodedata.category(c) in UNPRINTABLE and c not in JOINERS]
    safe.encode()  # no lone surrogate, which a terminal's encoding would refuse
    if not any(unicodedata.category(c) in UNPRINTABLE for c in text):
        assert safe == text


@given(HOSTILE)
@example("[red]a[/red] :bomb:\x1b]0;title\x07")
def test_a_terminal_shows_a_name_as_it_is_and_gets_no_control_sequence(text):
    for content in (text, Table.grid()):
        if isinstance(content, Table):
            content.add_row(text)
        stream = io.StringIO()
        PlainConsole(file=stream, width=100_000, soft_wrap=True).print(content)
        assert not [c for c in stream.getvalue() if unicodedata.category(c) in UNPRINTABLE and c not in f"\n{JOINERS}"]
    if text.isprintable() and text.strip():
        assert text.strip() in stream.getvalue()


@given(HOSTILE)
@example(MARKUP)
@example("a|b\\|c\\")
def test_a_markdown_table_has_no_markup_in_its_cells(text):
    page = Page(MARKDOWN.render(f"| a | b |\n|---|---|\n| x{escape_markdown(text)}x | {escape_markdown(text)} |\n"))
    assert page.tags == ["table", "thead", "tr", "th", "th", "tbody", "tr", "td", "td"]
    assert f"x{shown(text)}x" in page.text or not shown(text)


@given(HOSTILE)
@example("# heading")
@example("- item")
@example("12) item")
@example("---")
@example("    code")
@example("<!-- comment -->")
@example(MARKUP)
def test_a_line_of_markdown_has_no_markup_and_begins_no_block(text):
    line = escape_markdown_line(text)
    assert Page(MARKDOWN.render(f"before\n\n{line}\n\nafter\n")).tags == ["p"] * (3 if shown(text) else 2)
    item = Page(MARKDOWN.render(f"- {line}\n"))
    assert item.tags == ["ul", "li"]
    assert item.text.strip() == shown(text)


@given(HOSTILE)
@example(MARKUP)
def test_a_cell_of_the_page_has_no_tags(text):
    page = Page(_cell("td", text, number=False))
    assert page.tags == ["td"]
    assert page.text == printable(text)


@given(HOSTILE)
@example('<a href="http://host">&lt;b')
def test_a_label_for_plotly_has_no_tags(text):
    page = Page(escape_plotly(text))
    assert page.tags == []
    assert page.text == printable(text)


@given(HOSTILE)
@example("=1+1")
@example("'=1+1")
@example("''=1")
@example(" \t=1")
@example("a;=1+1")
@example("\uff1d1+1")
@example("-1;-2")
@example("x\r\n@SUM(1)")
def test_no_text_of_a_csv_file_is_a_formula_and_each_can_be_read_back(text):
    ((cell,),) = csv.reader(io.StringIO(csv_lines([{"a": text}], ["a"]), newline="")) if text else ((text,),)
    assert unescape_csv_cell(cell) == text
    assert not any(is_formula(part) for part in split_like_excel(cell))


def split_like_excel(cell: str) -> list[str]:
    """The cells that Excel may see in ``cell`` where a semicolon separates cells."""
    for separator in "\t\r\n":
        cell = cell.replace(separator, ";")
    return cell.split(";")


def is_formula(text: str) -> bool:
    start = text.strip()
    try:
        float(start)
    except ValueError:
        return start[:1] in tuple("=+-@\uff1d\uff0b\uff0d\uff20") and len(start) > 1
    return False


@pytest.mark.parametrize(
    "value",
    ["-0.5", "+1e-3", "-", "@", "-inf", "relu", "a-b", "a=b", "it's", "2026-01-01T00:00:00+00:00", -0.5, None, True],
)
def test_numbers_and_ordinary_texts_stay_as_they_are_in_csv(value):
    assert escape_csv_cell(value) is value or escape_csv_cell(value) == value


@pytest.mark.parametrize(
    "text",
    [
        "val_acc",
        "t0003 gelu-5L-d0.3-bn-b64-lr1e-4",
        "-0.5",
        "+0.19",
        "95 % interval 0.05 to 0.33, at 3 epochs",
        "naïve 漢字 👩‍👩‍👧",
    ],
)
def test_ordinary_texts_stay_readable_in_markdown_and_on_a_terminal(text):
    assert escape_markdown_line(text) == printable(text) == text
