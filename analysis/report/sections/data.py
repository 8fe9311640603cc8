"""The section about the images of a study, and its parts: classes, groups, copies, files that are not used."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pandas as pd
from PIL import Image

from analysis.escaping import printable
from analysis.figures.data import MAX_CLASSES, plot_class_counts
from analysis.figures.style import shortened
from analysis.readers.data_records import DataRecords, read_data_records
from analysis.report.document import Gallery, Item, Picture, ReportFigure, Section, Table, section
from analysis.schema import (
    CLASS,
    COPY_KIND,
    COPY_SET,
    GROUP,
    LEFT_OUT,
    PATH,
    REASON,
    SPLIT,
    TEST,
)
from analysis.wording import counted, counted_as, describe_ungrouped

TRAIN, UNSPLIT = "train", "not split"
SPLITS = (TRAIN, "val", TEST, LEFT_OUT, UNSPLIT)  # the columns of the tables, in this order
TOTAL, SHARE = "photos", "share"
MAX_TEXT = 200  # characters of a name in the page
MAX_NAME = 60  # characters of a path below a picture, from its end, where paths differ
MAX_CAPTIONS = 12  # pairs of copies whose paths are below the picture
MAX_REASONS = 5  # in the sentence about files that are not used
MAX_ROWS = 2000  # of a table, also in its CSV file
MAX_OPEN_ROWS = 40  # longer tables are folded, and not in the summary


def data_section(study: Path, info: Mapping[str, Any] = MappingProxyType({})) -> list[Section]:
    """What the search found in the images of the study at ``study``; no section if the study does not say.

    ``info`` is the content of study.json.
    """
    records, data = read_data_records(study), info.get("data")
    classes = data.get("classes") if isinstance(data, Mapping) else None
    names = [str(name) for name in classes] if isinstance(classes, list) else []
    return [] if records is None else [section("images", "Data", lambda: _items(records, names))]


def _items(records: DataRecords, classes: Sequence[str]) -> list[Item]:
    gallery = [] if records.picture is None else [copies_gallery(records.picture, records.copies)]
    return [
        *class_items(records.splits, classes), *group_items(records.splits), *copy_items(records.copies), *gallery,
        *skipped_items(records.skipped), *(f"Not shown: {error}." for error in records.errors),
    ]  # fmt: skip


def class_counts(splits: pd.DataFrame) -> pd.DataFrame:
    """Number of images of each class (index, the largest first) in each split (columns) that has any."""
    table = pd.crosstab(splits[CLASS], splits[SPLIT])
    table = table.reindex(columns=[name for name in SPLITS if name in table.columns])
    table = table.loc[table.sum(axis=1).sort_values(ascending=False, kind="stable").index]
    table.index = pd.Index([_short(name) for name in table.index], name=CLASS)
    return table.rename_axis(columns=None)


def class_items(splits: pd.DataFrame, classes: Sequence[str] = ()) -> list[Item]:
    """How many images each class has, and how far the classes are from equal; ``classes`` are in their own order."""
    counts = class_counts(splits)
    if counts.empty:
        return []
    total = counts.sum(axis=1)
    table = counts.reset_index()
    if counts.shape[1] > 1:
        table[TOTAL] = total.to_numpy()
    table[SHARE] = [f"{share:.1%}" for share in total / total.sum()]
    drawn = "" if len(counts) <= MAX_CLASSES else f" The {MAX_CLASSES // 2} largest and smallest classes."
    balance = describe_balance(counts, classes)
    alt = f"Photos of {len(counts)} classes. {balance}"
    return [
        balance,
        ReportFigure(
            "classes_in_splits",
            "Photos per class and split",
            alt,
            plot_class_counts(counts),
            f"Photos per class and split.{drawn}",
            data=table,
        ),
        _table("classes_in_splits", "Photos per class", table),
    ]


def describe_balance(counts: pd.DataFrame, classes: Sequence[str] = ()) -> str:
    """The number of images and classes, the largest and the smallest class, and what always guessing one scores."""
    total = counts.sum(axis=1)
    sizes = ", ".join(f"{counts[name].sum():,} {name}" for name in counts)
    return (
        f"{total.sum():,} photos of {len(counts):,} classes ({sizes}). The largest class, {total.index[0]}, has "
        f"{total.iloc[0]:,} photos, the smallest, {total.index[-1]}, {total.iloc[-1]:,}. "
        f"{describe_constant(counts, classes)}"
    )


def describe_constant(counts: pd.DataFrame, classes: Sequence[str] = ()) -> str:
    """The accuracy of answering the largest training class always: on the test split, or else on all images.

    Of equal classes it is the one that comes first in ``classes``, as everywhere, or without them by its name.
    """
    known = counts[TRAIN] if TRAIN in counts else counts.sum(axis=1)
    order = {_short(name): place for place, name in reversed(list(enumerate(classes)))}
    equal = known.index[known.eq(known.max())]
    answer = min(equal, key=lambda name: (order.get(name, len(order)), name))
    asked = counts[TEST] if TEST in counts else counts.sum(axis=1)
    where = "on the test photos" if TEST in counts else "on these photos"
    share = asked[counts.index == answer].iloc[0] / max(1, asked.sum())
    return f"Always answering {answer} scores {share:.2f} {where}."


def group_items(splits: pd.DataFrame) -> list[Item]:
    """The number of groups in each split, and whether a group is in two."""
    grouped = splits[splits[GROUP].ne("") & splits[SPLIT].isin(SPLITS)]
    if grouped.empty:
        return []
    groups = grouped[grouped[SPLIT].ne(LEFT_OUT)].groupby(GROUP)[SPLIT].nunique()
    counts = grouped.groupby(SPLIT)[GROUP].nunique()
    sizes = ", ".join(f"{counts[name]:,} in {name}" for name in SPLITS if name in counts)
    crossing = int((groups > 1).sum())
    sides = "none is on two sides" if not crossing else f"{counted_as(crossing, 'group')} on two sides"
    alone = int((splits[GROUP].eq("") & splits[SPLIT].isin(SPLITS) & splits[SPLIT].ne(LEFT_OUT)).sum())
    several = counted(grouped[GROUP].nunique(), "group")
    return [f"The photos belong to {several} ({sizes}); {sides}{describe_ungrouped(alone)}."]


def copy_items(copies: pd.DataFrame) -> list[Item]:
    """The sets of copies: how many, which cross splits or classes, and the images of each."""
    if copies.empty:
        return []
    sets = copies.groupby(COPY_SET, sort=False)
    classes, left_out = int((sets[CLASS].nunique() > 1).sum()), int(copies[SPLIT].eq(LEFT_OUT).sum())
    used = copies[copies[SPLIT].ne(LEFT_OUT)]
    crossing = int((used.groupby(COPY_SET)[SPLIT].nunique() > 1).sum())
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in copies[COPY_KIND].value_counts().head(3).items())
    text = f"{len(copies):,} photos are copies of each other, in {counted(len(sets), 'set')} ({_short(kinds)})."
    if left_out:
        are = "is" if left_out == 1 else "are"
        text += f" {left_out:,} of them {are} left out of training, as copies of them validate or test."
    if crossing:
        text += f" {counted_as(crossing, 'set', 'have')} photos in two splits."
    if classes:
        text += f" {counted_as(classes, 'set', 'have')} photos in two classes: at least one of their labels is wrong."
    return [text, _table("copies", "Copies, those in several classes first", copies, folded=True)]


def copies_gallery(picture: Image.Image, copies: pd.DataFrame) -> Gallery:
    """The picture of copies as an item of the page, and the names of the first pairs in it."""
    alt = "Pairs of photos that are copies of each other, in the order of the table."
    note = "Two photos of each set, of two classes if it has several, in the order of the table."
    sets = [rows for _, rows in copies.groupby(COPY_SET, sort=False) if len(rows) > 1][:MAX_CAPTIONS]
    names = [f"{number}. {name_pair(rows.iloc[[0, other_class(rows)]])}" for number, rows in enumerate(sets, start=1)]
    return Gallery("copies", "Copies side by side", [("; ".join(names), [to_picture(picture, alt)])], note)


def other_class(copies: pd.DataFrame) -> int:
    """The position of the first copy of a set in another class than the first, as in the picture; 1 if all agree."""
    differs = copies[CLASS].ne(copies[CLASS].iloc[0]).to_numpy().nonzero()[0]
    return int(differs[0]) if len(differs) else 1


def name_pair(pair: pd.DataFrame) -> str:
    """The paths of two copies, each with its class if these differ."""
    classes = [f" ({printable(shortened(name, MAX_NAME))})" for name in pair[CLASS]]
    paths = [printable(path if len(path) <= MAX_NAME else f"…{path[1 - MAX_NAME :]}") for path in pair[PATH]]
    return " and ".join(
        f"{path}{of if classes[0] != classes[1] else ''}" for path, of in zip(paths, classes, strict=True)
    )


def to_picture(image: Image.Image, alt: str, quality: int = 80) -> Picture:
    """An image as a JPEG of the page."""
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=quality, optimize=True)
    return Picture(buffer.getvalue(), alt, image.width, image.height)


def skipped_items(skipped: pd.DataFrame) -> list[Item]:
    """The files that are not used, by reason."""
    if skipped.empty:
        return []
    reasons = skipped.groupby(REASON).agg(files=(PATH, "size"), example=(PATH, "first")).reset_index()
    reasons = reasons.sort_values("files", ascending=False, kind="stable")
    named = [f"{_short(reason)} ({count:,})" for reason, count in zip(reasons[REASON], reasons["files"], strict=True)]
    rest = int(reasons["files"].iloc[MAX_REASONS:].sum())
    listed = "; ".join([*named[:MAX_REASONS], *([f"other reasons ({rest:,})"] if rest else [])])
    return [
        f"{counted_as(len(skipped), 'file')} not used: {listed}.",
        _table("not_used", "Files that are not used, by reason", reasons),
        _table("not_used_files", "Each file that is not used", skipped, folded=True),
    ]


def _table(name: str, title: str, frame: pd.DataFrame, folded: bool = False) -> Table:
    """A table of bounded size, with short texts."""
    note = f"the first {MAX_ROWS:,} of {len(frame):,} rows" if len(frame) > MAX_ROWS else ""
    shown = frame.head(MAX_ROWS).map(lambda value: _short(value) if isinstance(value, str) else value)
    return Table(name, title, shown.reset_index(drop=True), note, folded or len(frame) > MAX_OPEN_ROWS)


def _short(text: object) -> str:
    return printable(shortened(text, MAX_TEXT))
