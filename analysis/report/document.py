"""The parts of a report, before they are written as a page, figures, tables and a summary."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.failures import Failure
from analysis.schema import TRIAL_ID
from analysis.wording import join_words


@dataclass(frozen=True, slots=True)
class ReportFigure:
    """A figure; ``name`` is also the name of its file, ``title`` stands above it, and ``alt`` describes it in words.

    ``axes``: one of the axes of the matplotlib figure. ``interactive``: a plotly figure with the same content, which
    replaces the static one on a screen. ``data``: what it shows, which a user can save as CSV; one row per trial or
    epoch of a trial begins with ``trial_id``, as the page saves only the trials that the user has selected.
    """

    name: str
    title: str
    alt: str
    axes: Axes
    caption: str = ""
    interactive: Any = None
    data: pd.DataFrame | None = None

    @property
    def figure(self) -> Figure:
        """The matplotlib figure that contains ``axes``."""
        figure = self.axes.get_figure(root=True)
        assert figure is not None
        return figure


@dataclass(frozen=True, slots=True)
class Table:
    """A table; ``name`` is also the name of its file. ``folded``: the page shows it only on a click."""

    name: str
    title: str
    frame: pd.DataFrame
    note: str = ""
    folded: bool = False


@dataclass(frozen=True, slots=True)
class Picture:
    """A small picture: ``content`` is a JPEG of ``width`` x ``height`` px, and ``alt`` says what it shows."""

    content: bytes
    alt: str
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Gallery:
    """Rows of pictures, each with a caption; ``name`` is also the name of their files.

    ``narrow`` rows stand beside each other where the page is wide enough.
    """

    name: str
    title: str
    rows: list[tuple[str, list[Picture]]]
    note: str = ""
    narrow: bool = False


Item = ReportFigure | Table | Gallery | str  # a str is a paragraph


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the page under a heading; ``name`` is its anchor.

    ``failure``: the error of the program that its content is missing for; ``missing``: why the study has no content.
    """

    name: str
    title: str
    items: list[Item] = field(default_factory=list)
    failure: Failure | None = None
    missing: str = ""


@dataclass(frozen=True, slots=True)
class Fact:
    """One number of the first screen, with its label and a note on how to read it."""

    label: str
    value: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Headline:
    """The first screen: the best configuration as names and values, facts, and one sentence per key finding."""

    title: str
    subtitle: str
    configuration: dict[str, str]
    facts: list[Fact]
    findings: list[str]


@dataclass(frozen=True, slots=True)
class Report:
    """A report; ``data`` is for the page's script: the trials behind the parallel coordinates.

    ``kind`` stands in the title of the page, ``command`` and ``note`` at its end. ``other_failures``: failed parts that
    are no section, such as the key findings.
    """

    headline: Headline
    sections: list[Section]
    data: dict[str, Any] = field(default_factory=dict)
    kind: str = "report"
    command: str = "python -m analysis report"
    note: str = "All intervals are 95 % intervals."
    other_failures: list[Failure] = field(default_factory=list)

    @property
    def failures(self) -> list[Failure]:
        """The parts that are missing because of an error of the program."""
        return [*self.other_failures, *(part.failure for part in self.sections if part.failure is not None)]

    @property
    def figures(self) -> list[ReportFigure]:
        """All figures, in the order of the page."""
        return [item for section in self.sections for item in section.items if isinstance(item, ReportFigure)]

    @property
    def galleries(self) -> list[Gallery]:
        """All galleries, in the order of the page."""
        return [item for section in self.sections for item in section.items if isinstance(item, Gallery)]

    @property
    def tables(self) -> list[Table]:
        """All tables, in the order of the page."""
        return [item for section in self.sections for item in section.items if isinstance(item, Table)]


def first_columns(frame: pd.DataFrame) -> pd.DataFrame:
    """The table with the trial ids in front, as ``ReportFigure.data`` has them."""
    return frame[[TRIAL_ID, *(name for name in frame if name != TRIAL_ID)]]


def section(name: str, title: str, make_items: Callable[[], list[Item]]) -> Section:
    """A section with the items of ``make_items``; if that raises ValueError, a section with the reason.

    Any other error is one of the program, and costs only this section.
    """
    try:
        return Section(name, title, make_items())
    except ValueError as error:
        return Section(name, title, [f"Not available for this study: {error}."], missing=str(error))
    except Exception as error:
        return failed_section(name, title, error)


def merge_missing(sections: Sequence[Section]) -> list[Section]:
    """The sections, of which those without content for the same reason are one, in the place of the first of them.

    >>> [a, b] = (Section(name, name.upper(), ["-"], missing="it is Tuesday") for name in "ab")
    >>> merge_missing([a, Section("c", "C"), b])[0].items
    ['Not available for this study: it is Tuesday. This concerns A and B.']
    """
    alike: dict[str, list[Section]] = {}
    for one in sections:
        alike.setdefault(one.missing or f"section {one.name}", []).append(one)
    return [_as_one(reason, group) for reason, group in alike.items()]


def _as_one(reason: str, group: list[Section]) -> Section:
    if len(group) == 1:
        return group[0]
    text = f"Not available for this study: {reason}. This concerns {join_words([one.title for one in group])}."
    return Section(group[0].name, "Not available", [text], missing=reason)


def failed_section(name: str, title: str, error: Exception) -> Section:
    """A section that says what it failed with."""
    failure = Failure(f"section {title!r}", error)
    return Section(name, title, [failure.text], failure)
