"""Texts of strangers, such as names of images, classes and trials, as harmless text in each output format.

A study or a photo that somebody else made can have any name. Each function makes a name inert where it is written:
``printable`` on a terminal, ``escape_markdown`` in Markdown, ``escape_plotly`` in a figure of Plotly,
``escape_csv_cell`` in a CSV file, which people open in Excel. HTML pages use ``markupsafe.escape`` after ``printable``.
"""

import csv
import re
import unicodedata
from collections.abc import Iterable
from typing import Final

# Control characters, format characters (they reorder or hide text), lone surrogates, line and paragraph separators.
UNPRINTABLE: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
JOINERS: Final = "\u200c\u200d"  # format characters that Persian, Hindi and emoji need; they reorder and hide nothing
LAYOUT: Final = "\n\t"  # control characters that the program's own texts contain
_SUSPECT = re.compile(r"[^ -~]")

_MARKUP = re.compile(r"[\\`*\[\]|~$]|(?<![^\W_])_|_(?![^\W_])")
_ENTITY = re.compile(r"&(?=#?\w+;)")
_TAG = re.compile(r"<(?=[A-Za-z/!?])")  # in "a < b" it begins nothing, and stays readable on a terminal
_LINK = re.compile(r":(?=//)|(?<=www)\.|@(?=\w)", re.IGNORECASE)
# What begins a heading, list, quotation, rule or code block at the start of a line.
_BLOCK = re.compile(r"^(?=#|>|[-+](?:\s|$)|[-\s]+$|=+$)|^(\d{1,9})(?=[.)](?:\s|$))")

# Excel, LibreOffice and Google Sheets take a cell as a formula if it starts with one of these characters, some of them
# also behind blanks or in full width. In countries that write 1,5 for 1.5, Excel also begins a cell at each semicolon.
_FORMULA = r"[^\S\t\r\n]*[=+\-@\uff1d\uff0b\uff0d\uff20](?=[\s\S])|[\t\r](?=[\s\S])"
_FORMULA_START = re.compile(rf"(^|[;\t\r\n])(?='*(?:{_FORMULA}))")
_ESCAPED_START = re.compile(rf"(^|[;\t\r\n])'(?='*(?:{_FORMULA}))")


def printable(text: str, keep: str = "") -> str:
    r"""``text`` with escapes for characters that move the cursor, change colours, or reorder or hide text.

    Characters in ``keep`` stay as they are.

    >>> print(printable("a\nb\x1b[31m.jpg"))
    a\nb\x1b[31m.jpg
    """
    return _SUSPECT.sub(lambda match: match[0] if match[0] in keep else _escape_unprintable(match[0]), text)


def _escape_unprintable(character: str) -> str:
    if unicodedata.category(character) not in UNPRINTABLE or character in JOINERS:
        return character
    return character.encode("unicode-escape").decode("ascii")


def escape_markdown(value: object) -> str:
    r"""Format a value as one line of a table cell, heading or sentence in which Markdown finds no markup or HTML.

    >>> escape_markdown("<b>*val_acc* | [x](http://y)</b>")
    '&lt;b>\\*val_acc\\* \\| \\[x\\](http\\://y)&lt;/b>'
    """
    line = printable(" ".join(str(value).split()))
    for pattern, escape in ((_MARKUP, r"\\\g<0>"), (_ENTITY, "&amp;"), (_LINK, r"\\\g<0>")):
        line = pattern.sub(escape, line)
    return _TAG.sub("&lt;", line)


def escape_markdown_line(value: object) -> str:
    r"""Like ``escape_markdown``, for text at the start of a line or list item, where ``#`` would begin a heading.

    >>> escape_markdown_line("# 1")
    '\\# 1'
    """
    return _BLOCK.sub(r"\1\\", escape_markdown(value), count=1)


def escape_plotly(text: str) -> str:
    """A label for Plotly, which reads tags such as ``<a href=...>`` and entities in labels.

    >>> escape_plotly("<b>")
    '&lt;b>'
    """
    return printable(text).replace("&", "&amp;").replace("<", "&lt;")


def csv_rows(rows: Iterable[Iterable[object]]) -> str:
    r"""Rows as CSV text; texts that a spreadsheet would run are escaped, and those with a line break are quoted.

    >>> csv_rows([["name", "lr"], ["=1+1", -0.5]])
    "name,lr\n'=1+1,-0.5\n"
    """
    lines = _Lines()
    # csv quotes the characters of its line end only: with "\n" a carriage return would end a row.
    csv.writer(lines, lineterminator="\r\n").writerows(map(escape_csv_cell, row) for row in rows)
    return "".join(f"{line[:-2]}\n" for line in lines)


class _Lines(list[str]):
    """A file for csv.writer that keeps its lines apart."""

    write = list.append


def escape_csv_cell(value: object) -> object:
    """A cell of a CSV file; a text that a spreadsheet would run as a formula gets an apostrophe in front.

    Numbers, also as text, stay as they are. ``unescape_csv_cell`` returns the original text.

    >>> escape_csv_cell("=1+1"), escape_csv_cell("-0.5"), escape_csv_cell(-0.5)
    ("'=1+1", '-0.5', -0.5)
    """
    if not isinstance(value, str) or _is_number(value):
        return value
    return _FORMULA_START.sub(r"\1'", value)


def unescape_csv_cell(text: str) -> str:
    """The text that ``escape_csv_cell`` has escaped.

    >>> unescape_csv_cell("'=1+1"), unescape_csv_cell("'quoted'")
    ('=1+1', "'quoted'")
    """
    return _ESCAPED_START.sub(r"\1", text)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return not text[:1].isspace()
