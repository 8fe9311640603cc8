"""Draw test images with their file name, true class, predicted class and confidence."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import PurePath

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from analysis.escaping import printable
from inat.config.trial import DataConfig
from inat.data.originals import read_originals
from inat.data.splits import Split
from inat.interpret.examples import InterpretOptions, Layout, images_of, labels_of, test_config, test_split
from inat.interpret.images import Picture, new_figure, output_folder, save, shorten, shorten_start, show, write_title
from inat.training.inference import Model

PER_CLASS = 3  # images per class
WIDE_CLASSES = 10  # columns of the wide layout; further classes follow below
WIDTH, HEIGHT = 2.1, 2.6  # inches of an image with its title
SHOWN_SIDE = 260  # pixels of the longer side of a photo in the figure
NAME_LENGTH, FILE_LENGTH = 20, 30
MAX_BYTES = 2_500_000  # of a figure of photos, which compress badly
WRONG, RIGHT = "#d62728", "#404040"


@dataclass(frozen=True, slots=True)
class PredictedImage:
    """An image (H, W, 3) uint8 with its true class, its predicted class and the confidence in the predicted class.

    ``position`` is its place in the test split, and ``name`` its file, "" if unknown.
    """

    image: NDArray[np.uint8]
    true: str
    predicted: str
    confidence: float
    position: int = 0
    name: str = ""

    @property
    def wrong(self) -> bool:
        """Whether the prediction is an error."""
        return self.true != self.predicted


def draw_predictions(
    model: Model, options: InterpretOptions, *, worst: bool = False, layout: Layout = "published"
) -> Picture | None:
    """Write predictions.png, a grid of 3 test images per class; with ``worst`` predictions-worst.png.

    predictions-worst.png has the same number of images: the most confident errors. If the model makes no error, a line
    is printed instead. The images are the original photos; the layout "published" has a row per class, "wide" a column.
    Raises DataError if the images cannot be read or a file cannot be written.
    """
    split = test_split(model, options)
    folder = output_folder(options)
    total = f"{len(split):,} test photos"
    if not worst:
        samples = sample_per_class(split, len(model.classes), options.seed)
        rows = [predict_positions(model, split, positions) for positions in samples]
        title = f"Predictions for {sum(map(len, rows))} of {total}, {PER_CLASS} per class"
        rows = [list(with_originals(test_config(model, options), row)) for row in rows]
        path = folder / "predictions.png"
        arranged: Sequence[Sequence[PredictedImage | None]] = columns_per_class(rows) if layout == "wide" else rows
        alt = "A grid of test photos with file name, true class, predicted class and confidence; errors are red."
    else:
        errors, count = worst_errors(model, split, PER_CLASS * len(model.classes))
        if not errors:
            print(f"no figure: all {total} are predicted correctly")
            return None
        which = "All" if count == len(errors) else f"The most confident {len(errors)} of"
        title = f"{which} {count:,} errors among {total}"
        errors = list(with_originals(test_config(model, options), errors))
        path = folder / "predictions-worst.png"
        width = min(WIDE_CLASSES, len(model.classes)) if layout == "wide" else PER_CLASS
        arranged = [errors[start : start + width] for start in range(0, len(errors), width)]
        alt = "A grid of wrongly predicted test photos, the most confident error first, each with both classes."
    return Picture(save(grid(arranged, title), path, MAX_BYTES), title, alt)


def sample_per_class(split: Split, classes: int, seed: int) -> list[NDArray[np.int64]]:
    """For each class, the positions in ``split`` of 3 random images, or of all if it has fewer."""
    generator, labels = np.random.default_rng(seed), labels_of(split)
    positions = (np.flatnonzero(labels == label) for label in range(classes))
    return [generator.permutation(found)[:PER_CLASS] for found in positions]


def predict_positions(model: Model, split: Split, positions: Sequence[int] | NDArray[np.int64]) -> list[PredictedImage]:
    """Predict the images at ``positions`` of ``split``, batch by batch."""
    found = []
    for start in range(0, len(positions), model.batch_size):
        part = positions[start : start + model.batch_size]
        images, labels = images_of(split, part), labels_of(split)[part]
        for at, image, label, row in zip(part, images, labels, model.confidences(images), strict=True):
            best = int(row.argmax())
            true, predicted = model.classes[label], model.classes[best]
            found.append(PredictedImage(image, true, predicted, float(row[best]), int(at)))
    return found


def worst_errors(model: Model, split: Split, limit: int) -> tuple[list[PredictedImage], int]:
    """At most ``limit`` errors in ``split``, the most confident first, and the number of all errors."""
    errors = [image for image in predict_positions(model, split, range(len(split))) if image.wrong]
    return sorted(errors, key=lambda image: -image.confidence)[:limit], len(errors)


def with_originals(config: DataConfig, images: Sequence[PredictedImage]) -> Iterator[PredictedImage]:
    """The same images with their file names, and with the pixels of the files at up to ``SHOWN_SIDE`` px per side."""
    originals = read_originals(config, [image.position for image in images])
    for image, original in zip(images, originals, strict=True):
        pixels = image.image
        if original.image is not None:
            original.image.thumbnail((SHOWN_SIDE, SHOWN_SIDE), Image.Resampling.LANCZOS)
            pixels = np.asarray(original.image)
        yield replace(image, image=pixels, name=original.name)


def columns_per_class(rows: Sequence[Sequence[PredictedImage]]) -> list[list[PredictedImage | None]]:
    """The rows of each class as columns, at most ``WIDE_CLASSES`` beside each other, with None in empty places."""
    blocks = (rows[start : start + WIDE_CLASSES] for start in range(0, len(rows), WIDE_CLASSES))
    return [list(line) for block in blocks for line in zip_longest(*block)]


def grid(rows: Sequence[Sequence[PredictedImage | None]], title: str) -> Figure:
    """A figure with one line of images per row; errors have a red frame and a red title."""
    columns = max(PER_CLASS, *map(len, rows))
    figure = new_figure(WIDTH * columns, HEIGHT * len(rows) + 0.5)
    figure.suptitle(title, fontsize=11)
    for line, images in zip(figure.subplots(len(rows), columns, squeeze=False), rows, strict=True):
        for axes, image in zip_longest(line, images):
            _draw(axes, image) if image else axes.set_axis_off()
    return figure


def _draw(axes: Axes, image: PredictedImage) -> None:
    colour = WRONG if image.wrong else RIGHT
    show(axes, image.image)
    axes.set_anchor("N")  # the titles of a line at one height
    write_title(axes, "\n".join(_lines(image)), fontsize=8, color=colour)
    for spine in axes.spines.values():
        spine.set(edgecolor=colour, linewidth=3 if image.wrong else 0.5)


def _lines(image: PredictedImage) -> Iterable[str]:
    if image.name:
        yield shorten_start(printable(PurePath(image.name).name), FILE_LENGTH)
    yield f"true: {shorten(image.true, NAME_LENGTH)}"
    yield f"predicted: {shorten(image.predicted, NAME_LENGTH)} {image.confidence:.0%}"
