"""What inat.data.inspect prints: some 25 lines."""

from collections.abc import Sequence

import pandas as pd
from rich.table import Column, Table

from analysis.escaping import printable
from analysis.markdown import format_duration
from analysis.report.sections.data import SPLITS, class_counts, describe_constant
from analysis.schema import LEFT_OUT
from inat.data.inspect import facts
from inat.data.inspect.collect import Collected
from inat.data.inspect.search_time import SearchTime

MAX_CLASSES = 12  # with more, the largest and the smallest ones are listed
LARGEST, SMALLEST = 8, 3
SHORT = {LEFT_OUT: "out"}


def describe(found: Collected, data: str, time: SearchTime | None) -> list[str | Table]:
    """The lines and the table of classes, in order."""
    counts, used = class_counts(found.splits), int(found.usable.sum())
    unreadable = len(found.names) - used
    beside = f" (and {unreadable:,} unreadable)" if unreadable else ""
    lines = [
        f"data        {data}: {_counted(used, 'photo', 'photos')}{beside}, "
        f"{_counted(len(found.classes), 'class', 'classes')}",
        f"splits      {facts.split_sizes(found)}",
        f"            {found.meaning}",
    ]
    lines += [f"note        {note}" for note in found.notes]
    if groups := facts.groups(found):
        lines.append(f"groups      {groups}")
    rest = [
        f"constant    {describe_constant(counts, found.classes)}" if len(counts) else "",
        f"sizes       {facts.sizes(found)}",
        f"shapes      {facts.aspects(found)}",
        f"files       {facts.formats(found)}",
        f"brightness  {facts.brightness(found)}",
        f"copies      {facts.copies(found)}",
        f"not used    {facts.skipped(found)}",
        f"store       {facts.store(found)}",
        f"search      {describe_time(time)}" if time else "",
    ]
    # Names of folders and files may have line breaks.
    above, below = ("\n".join(map(printable, filter(None, part))) for part in (lines, rest))
    return [above, class_table(counts), below]


def _counted(count: int, one: str, several: str) -> str:
    return f"{count:,} {one if count == 1 else several}"


def describe_time(time: SearchTime) -> str:
    """The estimated time of a search, with what it is based on."""
    return (
        f"about {rough_duration(time.seconds)} for {time.trials} trials on {time.device}, a rough guess from a few "
        f"training steps of a middle-sized network{of_space(time)}; add --plan to the command below to time networks "
        "of the space"
    )


def of_space(time: SearchTime) -> str:
    """The space that an estimate assumes, to be appended to a network; "" if it is unknown."""
    return f" of the space {time.space}" if time.space else ""


def rough_duration(seconds: float) -> str:
    """A duration that claims no more than it knows: "40 min", "5 h", "3 days"."""
    for unit, name in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * unit:
            return f"{float(f'{seconds / unit:.2g}'):,.0f} {name}"
    return format_duration(seconds)


def class_table(counts: pd.DataFrame) -> Table:
    """One row per class, the largest first."""
    names = [name for name in SPLITS if name in counts.columns]
    table = Table(
        Column("  class", no_wrap=True, overflow="ellipsis", max_width=30), Column("photos", justify="right"),
        Column("share", justify="right"), *(Column(SHORT.get(name, name), justify="right") for name in names),
        box=None, padding=(0, 2, 0, 0),
    )  # fmt: skip
    total = counts.sum(axis=1)
    for row in shown_rows(len(counts)):
        if row is None:
            table.add_row(f"  ... and {len(counts) - LARGEST - SMALLEST:,} more")
            continue
        share = total.iloc[row] / total.sum()
        cells = [f"{counts[name].iloc[row]:,}" for name in names]
        table.add_row(f"  {total.index[row]}", f"{total.iloc[row]:,}", f"{share:.1%}", *cells)
    return table


def shown_rows(count: int) -> Sequence[int | None]:
    """Which of ``count`` rows are listed; None stands for those that are left out."""
    if count <= MAX_CLASSES:
        return range(count)
    return [*range(LARGEST), None, *range(count - SMALLEST, count)]
