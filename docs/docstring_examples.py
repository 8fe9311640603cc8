"""Show the examples in docstrings as code: Markdown would read `>>>` as a quotation, and `a[["b"]]` as a link."""

import re
from typing import Any

import griffe

# From a line with >>> to the next empty line, with the indentation of the first line.
EXAMPLE = re.compile(r"^(?P<indent> *)>>> .*(?:\n(?! *$).*)*", re.MULTILINE)


class FencedExamples(griffe.Extension):
    """Puts each example of a docstring into a block of code."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring:
            obj.docstring.value = EXAMPLE.sub(_fenced, obj.docstring.value)


def _fenced(example: re.Match[str]) -> str:
    indent = example["indent"]
    return f"\n{indent}```pycon\n{example[0]}\n{indent}```\n"
