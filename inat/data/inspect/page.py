"""The page of inat.data.inspect, in the style of a report."""

import numpy as np

from analysis.figures.data import Distribution, plot_distributions
from analysis.report.document import Fact, Headline, Item, Report, ReportFigure, Section
from analysis.report.sections.data import (
    class_counts,
    class_items,
    copy_items,
    describe_constant,
    group_items,
    skipped_items,
)
from inat.data.inspect import facts
from inat.data.inspect.collect import Collected
from inat.data.inspect.examples import copy_gallery, example_gallery, extreme_gallery
from inat.data.inspect.search_time import SearchTime
from inat.data.inspect.text import of_space, rough_duration


def make_page(found: Collected, name: str, command: str, time: SearchTime | None) -> Report:
    """The page about a data set called ``name``; ``command`` searches it."""
    sections = [
        Section(
            "classes",
            "Classes",
            [*class_items(found.splits, found.classes), *group_items(found.splits), *_some(example_gallery(found))],
        ),
        Section("photos", "Sizes and brightness", _image_items(found)),
        Section("copies", "Copies", _copy_items(found)),
        Section("not-used", "Not used", skipped_items(found.skipped) or ["Every file is used."]),
        Section("search", "Search", _search_items(found, command, time)),
    ]
    return Report(_headline(found, name, time), sections, kind="photos", command="inat data", note="")


def _headline(found: Collected, name: str, time: SearchTime | None) -> Headline:
    counts = class_counts(found.splits)
    total = counts.sum(axis=1)
    share = float(total.iloc[0] / total.sum()) if len(total) else 0.0
    copies = "not looked for" if found.config.keep_duplicates else f"{len(found.copies):,}"
    used = int(found.usable.sum())
    items = [
        Fact("photos", f"{used:,}", facts.split_sizes(found)),
        Fact("classes", f"{len(found.classes):,}", f"largest {share:.1%} of the photos" if len(total) else ""),
        Fact("median size", _median_size(found), _smaller(found)),
        Fact("copies", copies, "photos that have a copy"),
        Fact("not used", f"{len(found.skipped):,}", "files"),
    ]
    if time:
        items.append(
            Fact("default search", f"~{rough_duration(time.seconds)}", f"{time.trials} trials on {time.device}")
        )
    return Headline(name, found.meaning, {}, items, facts.warnings(found) or ["Nothing stands out."])


def _smaller(found: Collected) -> str:
    share = facts.smaller_share(found)
    return f"{share:.0%} below {found.config.image_size} px" if share else f"none below {found.config.image_size} px"


def _median_size(found: Collected) -> str:
    known = found.sizes[(found.sizes > 0).all(axis=1)]
    if not len(known):
        return "-"
    width, height = np.median(known, axis=0)
    return f"{width:.0f} x {height:.0f}"


def _image_items(found: Collected) -> list[Item]:
    known = found.sizes[(found.sizes > 0).all(axis=1)].min(axis=1, initial=2**31).astype(float)
    ratios, bright = found.aspects[found.usable].astype(float), found.brightness[found.usable].astype(float)
    if not len(ratios):
        return ["No photo could be read."]
    panels = [
        Distribution(ratios, "width / height"),
        Distribution(bright, "mean brightness, 0 black to 1 white"),
    ]
    if len(known):
        size = float(found.config.image_size)
        panels.insert(0, Distribution(known, "shorter side in px", [(size, f"{size:.0f} px")]))
    texts = f"Sizes: {facts.sizes(found)}. Shapes: {facts.aspects(found)}. Brightness: {facts.brightness(found)}."
    caption = "The line is the image size of the search."
    return [
        f"Sizes: {facts.sizes(found)}.",
        f"Shapes: {facts.aspects(found)}. The search scales each photo to a square.",
        f"Brightness: {facts.brightness(found)}.",
        f"Files: {facts.formats(found)}.",
        ReportFigure(
            "properties",
            "Sizes, shapes and brightness",
            f"Histograms. {texts}",
            plot_distributions(panels),
            caption if len(known) else "",
        ),
        *_some(extreme_gallery(found)),
    ]


def _copy_items(found: Collected) -> list[Item]:
    if found.copies.empty:
        return [f"Copies: {facts.copies(found)}."]
    return [*copy_items(found.copies), *_some(copy_gallery(found))]


def _search_items(found: Collected, command: str, time: SearchTime | None) -> list[Item]:
    counts = class_counts(found.splits)
    items: list[Item] = [f"Decoded photos: {facts.store(found)}."]
    if time:
        items.append(
            f"A default search takes about {rough_duration(time.seconds)} ({time.trials} trials on {time.device}, from "
            f"a few training steps of a middle-sized network{of_space(time)}; reading and augmenting photos is not "
            "included). Add --plan to the command below to time networks of the space."
        )
    if len(counts):
        items.append(describe_constant(counts, found.classes))
    items.append(f"These photos cannot be trained on: {found.problem}." if found.problem else f"Next: {command}")
    return items


def _some(item: Item | None) -> list[Item]:
    return [] if item is None else [item]
