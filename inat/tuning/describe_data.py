"""What a search prints about its images: layout, splits, unused files and copies."""

from collections.abc import Sequence

import numpy as np

from analysis.escaping import printable
from analysis.schema import CLASS, COPY_SET, DATA_DIR, DUPLICATES_CSV, LEFT_OUT, PATH, REASON, SKIPPED_CSV, SPLIT
from analysis.wording import counted, counted_as, describe_ungrouped
from inat.data.image_files import count_reasons
from inat.data.listing import named_group
from inat.data.records import Row, copy_table, skipped_table
from inat.data.split_rows import imbalance
from inat.data.splits import Assignment, Splits


def describe_images(splits: Splits, assigned: Assignment | None) -> list[str]:
    """Lines about the splits; ``assigned`` is None for the digits.

    Names with a line break must not look like further lines of the search.
    """
    lines = [f"images  {describe_sizes(splits)}"]
    if assigned is None:
        return lines
    lines.append(f"splits  {assigned.listing.meaning}")
    lines += [f"note    {note}" for note in assigned.listing.notes]
    if assigned.groups:
        lines.append(f"groups  {describe_groups(assigned)}")
    if copies := copy_table(assigned):
        lines.append(f"copies  {describe_copies(copies)}; see {DATA_DIR}/{DUPLICATES_CSV} in the study")
    if skipped := skipped_table(assigned):
        files = counted_as(len(skipped), "file")
        reasons = count_reasons(row[REASON] for row in skipped)
        lines.append(f"skipped {files} not used: {reasons}; see {DATA_DIR}/{SKIPPED_CSV} in the study")
    return [printable(line) for line in lines]


def describe_sizes(splits: Splits) -> str:
    """How many images each split has, and how many are in none."""
    sizes = f"{len(splits.train)} train, {len(splits.val)} validation, {len(splits.test)} held-out test"
    return f"{sizes}{_left_out(splits.left_out)}"


def describe_times(folds: int, repeats: int) -> str:
    """How often each trial trains, to be appended to its epochs; "" for once.

    >>> describe_times(5, 2)
    ' x 5 folds x 2 repeats'
    """
    counts = ((folds, "folds"), (repeats, "repeats"))
    return "".join(f" x {count} {word}" for count, word in counts if count > 1)


def _left_out(count: int) -> str:
    return f"; {counted(count, 'training photo')} left out, beside copies or groups in other splits" if count else ""


def describe_copies(rows: Sequence[Row]) -> str:
    """How many images are copies, which splits they cross, and the first that is in two classes."""
    sets: dict[int, list[Row]] = {}
    for row in rows:
        sets.setdefault(row[COPY_SET], []).append(row)
    left_out = sum(row[SPLIT] == LEFT_OUT for row in rows)
    text = f"{len(rows):,} photos are copies of each other, in {counted(len(sets), 'set')}"
    if left_out:
        text += f"; {left_out:,} left out of training as copies of test or validation photos"
    across = [members for members in sets.values() if len({row[CLASS] for row in members}) > 1]
    if across:
        a = across[0][0]
        b = next(row for row in across[0] if row[CLASS] != a[CLASS])
        text += f"; {counted_as(len(across), 'set')} in two classes: {a[PATH]} and {b[PATH]}"
    return text


def describe_groups(assigned: Assignment) -> str:
    """How many named groups each split has, and how far the classes are from their share in validation."""
    rows, groups = assigned.rows, assigned.groups
    names = [[named_group(groups[row]) for row in part.tolist()] for part in (rows.train, rows.val, rows.test)]
    counts = [len(set(part) - {""}) for part in names]
    alone = sum(part.count("") for part in names)
    labels = assigned.stores[0].labels
    cut = np.concatenate([rows.train, rows.val])
    share = len(rows.val) / len(cut)
    spread = imbalance(labels[cut], labels[rows.val], share)
    return (
        f"{counts[0]:,} in train, {counts[1]:,} in validation, {counts[2]:,} in test, none on two sides"
        f"{describe_ungrouped(alone)}; validation has {share:.0%} of the photos, of each class within "
        f"{counted(round(100 * spread), 'point')} of that"
    )
