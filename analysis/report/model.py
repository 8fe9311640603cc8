"""What a report is made of, before it becomes a page, pictures, tables and a summary."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture under a name that is its file's too; ``alt`` says in words what it shows, ``axes`` are any of its own.

    ``interactive``: a plotly figure of the same that takes its place on a screen.
    """

    name: str
    alt: str
    axes: Axes
    caption: str = ""
    interactive: Any = None

    @property
    def figure(self) -> Figure:
        """What ``axes`` are on, with any others."""
        figure = self.axes.get_figure(root=True)
        assert figure is not None
        return figure


@dataclass(frozen=True, slots=True)
class Table:
    """A table under a name that is its file's too; ``folded`` ones are opened by the reader."""

    name: str
    title: str
    frame: pd.DataFrame
    note: str = ""
    folded: bool = False


Item = Picture | Table | str  # a str is a paragraph


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the page under a heading."""

    name: str
    title: str
    items: list[Item] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Fact:
    """One number of the first screen, what it is, and what to think of it."""

    label: str
    value: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Headline:
    """The first screen: the best configuration as names and values, numbers, and findings in a sentence each."""

    title: str
    subtitle: str
    configuration: dict[str, str]
    facts: list[Fact]
    findings: list[str]


@dataclass(frozen=True, slots=True)
class Report:
    """A report with ``data`` for its page's script: the trials behind the parallel coordinates."""

    headline: Headline
    sections: list[Section]
    data: dict[str, Any] = field(default_factory=dict)

    @property
    def pictures(self) -> list[Picture]:
        """All of them, in order."""
        return [item for section in self.sections for item in section.items if isinstance(item, Picture)]

    @property
    def tables(self) -> list[Table]:
        """All of them, in order."""
        return [item for section in self.sections for item in section.items if isinstance(item, Table)]


def section(name: str, title: str, make: Callable[[], list[Item]]) -> Section:
    """A section, or what stands in its way as a sentence: a study too small for one has others all the same."""
    try:
        return Section(name, title, make())
    except ValueError as error:
        return Section(name, title, [f"Not to be had from this study: {error}."])
