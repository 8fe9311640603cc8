"""The findings about a data set as sentences, for the terminal and for the page."""

from collections import Counter
from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rich.filesize import decimal

from analysis.report.sections.data import UNSPLIT, class_counts
from analysis.schema import CLASS, COPY_SET, GROUP, LEFT_OUT, PATH, REASON, SPLIT, TEST
from analysis.wording import counted, describe_ungrouped
from inat.constants import DIGITS, TRAIN, VAL
from inat.data.image_files import MAX_REASONS
from inat.data.inspect.collect import Collected
from inat.data.thumbnails import SIDE

DARK, BRIGHT = 0.06, 0.94  # mean brightness below and above which a photo is nearly black or white
MODES: Mapping[str, str] = {
    "RGB": "colour", "L": "grey", "P": "palette", "RGBA": "colour with transparency", "LA": "grey with transparency",
    "CMYK": "print colours (CMYK)", "1": "black and white", "I;16": "16-bit grey", "I": "16-bit grey",
    "YCbCr": "colour (YCbCr)", "F": "floating point",
}  # fmt: skip
SPLIT_WORDS = {TRAIN: "train", VAL: "validation", TEST: "held-out test", LEFT_OUT: "left out", UNSPLIT: "not split"}
FEW = 20  # training images of a class, below which a network learns little about it
IMBALANCE = 10  # times as many training images in the largest class as in the smallest
SMALLER_SHARE = 0.05  # of the images may be smaller than the image size without a word


def split_sizes(found: Collected) -> str:
    """The number of images in each split: "7,200 train, 1,800 validation, 1,000 held-out test"."""
    counts = Counter(found.split.tolist())
    return ", ".join(f"{counts[name]:,} {word}" for name, word in SPLIT_WORDS.items() if counts[name])


def training_counts(found: Collected) -> pd.Series:
    """Number of training images of each class, all classes, the largest first; of all images if nothing is split."""
    counts = class_counts(found.splits)
    column = counts[TRAIN] if TRAIN in counts else counts.sum(axis=1)
    return column.sort_values(ascending=False, kind="stable")


def sizes(found: Collected) -> str:
    """The median size, the range of widths and heights, and how many images are smaller than the network's."""
    known = found.sizes[(found.sizes > 0).all(axis=1)]
    if not len(known):
        return "unknown"
    width, height = np.median(known, axis=0)
    low, high = known.min(axis=0), known.max(axis=0)
    text = f"median {width:.0f} x {height:.0f} px, from {low[0]} to {high[0]} wide and {low[1]} to {high[1]} high"
    smaller = smaller_share(found)
    return text + (f"; {smaller:.0%} smaller than {found.config.image_size} px" if smaller >= 0.005 else "")


def smaller_share(found: Collected) -> float:
    """Share of the images whose shorter side has fewer pixels than the images of the search."""
    known = found.sizes[(found.sizes > 0).all(axis=1)]
    return float((known.min(axis=1) < found.config.image_size).mean()) if len(known) else 0.0


def aspects(found: Collected) -> str:
    """How many images are landscape, square and portrait, and the most extreme ratio of width to height."""
    ratios = found.aspects[found.usable]
    if not len(ratios):
        return "unknown"
    wide, tall = float((ratios > 1.02).mean()), float((ratios < 0.98).mean())
    text = f"{wide:.0%} landscape, {tall:.0%} portrait, {1 - wide - tall:.0%} square"
    return f"{text}; width / height from {ratios.min():.2f} to {ratios.max():.2f}"


def formats(found: Collected) -> str:
    """The file formats and colour modes with their numbers."""
    if not found.formats:
        return "unknown, as a library returns the photos"
    modes = Counter[str]()
    for mode, count in found.modes.items():
        modes[MODES.get(mode, mode)] += count
    return f"{_counts(found.formats)}; {_counts(modes)}"


def _counts(counter: Counter[str]) -> str:
    most = counter.most_common(4)
    rest = counter.total() - sum(count for _, count in most)
    return ", ".join(f"{count:,} {name}" for name, count in most) + (f", {rest:,} other" if rest else "")


def brightness(found: Collected) -> str:
    """The median brightness, and how many images are nearly black or white."""
    values = found.brightness[found.usable]
    if not len(values):
        return "unknown"
    dark, bright = int((values < DARK).sum()), int((values > BRIGHT).sum())
    low, high = np.quantile(values, [0.05, 0.95])
    return (
        f"median {np.median(values):.0%} of white, nine of ten from {low:.0%} to {high:.0%}; {dark:,} nearly black, "
        f"{bright:,} nearly white"
    )


def extreme_rows(found: Collected, count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows of the ``count`` darkest and the ``count`` brightest images."""
    rows = np.flatnonzero(found.usable)
    order = rows[np.argsort(found.brightness[rows], kind="stable")]
    return order[:count], order[::-1][:count]


def copies(found: Collected) -> str:
    """How many images are copies, in how many sets, and which of these cross splits or classes."""
    if found.config.keep_duplicates:
        return "not looked for, because of --keep-duplicates"
    if found.copies.empty:
        return "none found"
    sets = found.copies.groupby(COPY_SET)
    left_out = int(found.copies[SPLIT].eq(LEFT_OUT).sum())
    across = sum((of.nunique() > 1) for _, of in sets[SPLIT])
    text = f"{len(found.copies):,} photos in {counted(len(sets), 'set')}; {counted(across, 'set')} across splits"
    return f"{text} ({counted(left_out, 'photo')} left out), {conflicts(found):,} in two classes"


def conflicts(found: Collected) -> int:
    """Number of sets of copies in more than one class."""
    return int((found.copies.groupby(COPY_SET)[CLASS].nunique() > 1).sum())


def skipped(found: Collected) -> str:
    """The reasons for which files are not used, with their numbers and the first file."""
    if found.skipped.empty:
        return "none"
    reasons = found.skipped.groupby(REASON)[PATH].agg(["size", "first"]).sort_values("size", ascending=False)
    parts = [
        f"{reason} ({row['size']:,}), such as {row['first']}" for reason, row in reasons.head(MAX_REASONS).iterrows()
    ]
    rest = int(reasons["size"].iloc[MAX_REASONS:].sum())
    return "; ".join([*parts, *([f"other reasons ({rest:,})"] if rest else [])])


def groups(found: Collected) -> str:
    """How many groups there are, and their sizes."""
    named = found.splits[found.splits[GROUP].ne("")]
    if named.empty:
        return ""
    counts = named[GROUP].value_counts()
    alone = int((found.splits[GROUP].eq("") & found.splits[SPLIT].ne(LEFT_OUT)).sum())
    sizes = f"{counted(len(counts), 'group')} of {counts.min():,} to {counted(counts.max(), 'photo')}"
    return f"{sizes}, none on two sides of a split{describe_ungrouped(alone)}"


def store_sizes(found: Collected) -> tuple[int, int]:
    """Bytes of the decoded images on the disk, without and with the larger copies that augmentation needs."""
    side, crop = found.config.image_size, found.config.crop_size
    count, held_out = len(found.names), int((found.split == TEST).sum())
    plain = count * 3 * (side**2 + SIDE**2)
    return plain, plain + (count - held_out) * 3 * (crop**2 + SIDE**2)


def store(found: Collected) -> str:
    """The size of the decoded images on the disk."""
    if found.config.data == DIGITS:
        return "none, the scans fit into memory"
    plain, augmented = store_sizes(found)
    size = f"{found.config.image_size} px"
    return f"{decimal(plain)} at {size} in {found.config.cache_dir}, {decimal(augmented)} with augmentation"


def warnings(found: Collected) -> list[str]:
    """What a user should look at before training, the worst first."""
    counts = training_counts(found)
    texts = []
    if found.problem:
        texts.append(f"These photos cannot be trained on: {found.problem}.")
    if number := conflicts(found):
        sets = "1 set of copies is" if number == 1 else f"{number:,} sets of copies are"
        texts.append(f"{sets} in two classes, so a label is wrong: see Copies.")
    few = counts[counts < FEW]
    if len(few):
        classes = "1 class has" if len(few) == 1 else f"{len(few):,} classes have"
        texts.append(
            f"{classes} fewer than {FEW} training photos; the smallest, {few.index[-1]}, has {few.iloc[-1]:,}."
        )
    if len(counts) > 1 and counts.iloc[0] > IMBALANCE * max(1, counts.iloc[-1]):
        texts.append(
            f"The classes are unequal: {counts.iloc[0]:,} training photos of {counts.index[0]}, {counts.iloc[-1]:,} of "
            f"{counts.index[-1]}. Compare the accuracy with that of the constant answer."
        )
    values = found.brightness[found.usable]
    if extreme := int(((values < DARK) | (values > BRIGHT)).sum()):
        photos = "1 photo is" if extreme == 1 else f"{extreme:,} photos are"
        texts.append(f"{photos} nearly black or white: see Sizes and brightness.")
    if (share := smaller_share(found)) > SMALLER_SHARE:
        texts.append(f"{share:.0%} of the photos are smaller than {found.config.image_size} px and will be enlarged.")
    return texts
