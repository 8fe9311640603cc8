"""The commands that README and docs/ show."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.paths import ROOT

RECIPES = ROOT / "docs" / "extending.md"  # applied to a copy of the project, and run there, by tests/recipes
# A comment such as <!-- run: --num-samples 4 --> before a block of code says that the tests run the block. Behind the
# colon stand options that make a search small; `exact` compares the output, `exit=2` expects that code,
# `file=NAME` writes the block into a file.
BLOCK = re.compile(
    r"(?:^<!-- run(?P<words>[^:>]*?)(?::(?P<options>.*?))? -->\n)?^```(?P<language>\w+)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
SHOWN = re.compile(r"python (?:-m (?:inat|analysis)[\w.]*|[a-z_/]+\.py)(?: [^\n|;`&'#]*)?")


@dataclass(frozen=True)
class Block:
    """A block of code on a page; ``words`` is None if nobody runs it."""

    page: str
    language: str
    text: str
    words: tuple[str, ...] | None
    options: tuple[str, ...]

    @property
    def commands(self) -> list[str]:
        """The command lines, without their output."""
        lines = [line for line in self.text.splitlines() if line.strip() and not line.startswith("#")]
        if self.language == "console":
            return [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
        return lines

    @property
    def output(self) -> list[str]:
        """The lines that a console block shows below its command."""
        return [line for line in self.text.splitlines() if not line.startswith("$ ")]


def pages() -> list[Path]:
    """README and the pages of docs/ whose commands work on the project as it is."""
    return [ROOT / "README.md", *sorted(page for page in (ROOT / "docs").rglob("*.md") if page != RECIPES)]


def blocks(path: Path) -> Iterator[Block]:
    """The blocks of code of a page."""
    for found in BLOCK.finditer(path.read_text(encoding="utf-8")):
        marked = found["words"] is not None
        yield Block(
            page=path.relative_to(ROOT).as_posix(),
            language=found["language"],
            text=found["text"],
            words=tuple(found["words"].split()) if marked else None,
            options=tuple(shlex.split(found["options"] or "")),
        )


def shown_commands() -> list[tuple[str, str]]:
    """Every command line of this project that any page shows, with the page, each once per page."""
    found: dict[tuple[str, str], None] = {}
    for path in pages():
        for match in SHOWN.finditer(path.read_text(encoding="utf-8")):
            found[path.relative_to(ROOT).as_posix(), match[0].removesuffix("...").strip()] = None
    return list(found)
