"""Draw test images with their true class, predicted class and confidence."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from inat.data.splits import Split
from inat.interpret.examples import InterpretOptions, images_of, labels_of, test_split
from inat.interpret.images import new_figure, output_folder, save, shorten, show
from inat.training.inference import Model

COLUMNS = 3  # images per class
WIDTH, HEIGHT = 1.75, 1.95  # inches of an image with its title
NAME_LENGTH = 20
WRONG, RIGHT = "#d62728", "#404040"


@dataclass(frozen=True, slots=True)
class PredictedImage:
    """An image (S, S, 3) uint8 with its true class, its predicted class and the confidence in the predicted class."""

    image: NDArray[np.uint8]
    true: str
    predicted: str
    confidence: float

    @property
    def wrong(self) -> bool:
        """Whether the prediction is an error."""
        return self.true != self.predicted


def draw_predictions(model: Model, options: InterpretOptions, *, worst: bool = False) -> None:
    """Write predictions.png, a grid of 3 test images per class; with ``worst`` predictions-worst.png.

    predictions-worst.png has the same number of images: the most confident errors. If the model makes no error, a line
    is printed instead. Raises DataError if the images cannot be read or a file cannot be written.
    """
    split = test_split(model, options)
    folder = output_folder(options)
    total = f"{len(split):,} test photos"
    if not worst:
        samples = sample_per_class(split, len(model.classes), options.seed)
        rows = [predict_positions(model, split, positions) for positions in samples]
        title = f"Predictions for {sum(map(len, rows))} of {total}, {COLUMNS} per class"
        save(grid(rows, title), folder / "predictions.png")
        return
    errors, count = worst_errors(model, split, COLUMNS * len(model.classes))
    if not errors:
        print(f"no figure: all {total} are predicted correctly")
        return
    which = "All" if count == len(errors) else f"The most confident {len(errors)} of"
    title = f"{which} {count:,} errors among {total}"
    rows = [errors[start : start + COLUMNS] for start in range(0, len(errors), COLUMNS)]
    save(grid(rows, title), folder / "predictions-worst.png")


def sample_per_class(split: Split, classes: int, seed: int) -> list[NDArray[np.int64]]:
    """For each class, the positions in ``split`` of 3 random images, or of all if it has fewer."""
    generator, labels = np.random.default_rng(seed), labels_of(split)
    positions = (np.flatnonzero(labels == label) for label in range(classes))
    return [generator.permutation(found)[:COLUMNS] for found in positions]


def predict_positions(model: Model, split: Split, positions: Sequence[int] | NDArray[np.int64]) -> list[PredictedImage]:
    """Predict the images at ``positions`` of ``split``, batch by batch."""
    found = []
    for start in range(0, len(positions), model.batch_size):
        part = positions[start : start + model.batch_size]
        images, labels = images_of(split, part), labels_of(split)[part]
        for image, label, row in zip(images, labels, model.confidences(images), strict=True):
            best = int(row.argmax())
            found.append(PredictedImage(image, model.classes[label], model.classes[best], float(row[best])))
    return found


def worst_errors(model: Model, split: Split, limit: int) -> tuple[list[PredictedImage], int]:
    """At most ``limit`` errors in ``split``, the most confident first, and the number of all errors."""
    errors = [image for image in predict_positions(model, split, range(len(split))) if image.wrong]
    return sorted(errors, key=lambda image: -image.confidence)[:limit], len(errors)


def grid(rows: Sequence[Sequence[PredictedImage]], title: str) -> Figure:
    """A figure with one line of images per row; errors have a red frame and a red title."""
    figure = new_figure(WIDTH * COLUMNS, HEIGHT * len(rows) + 0.5)
    figure.suptitle(title, fontsize=10)
    for line, images in zip(figure.subplots(len(rows), COLUMNS, squeeze=False), rows, strict=True):
        for axes in line[len(images) :]:
            axes.set_axis_off()
        for axes, image in zip(line, images, strict=False):
            _draw(axes, image)
    return figure


def _draw(axes: Axes, image: PredictedImage) -> None:
    colour = WRONG if image.wrong else RIGHT
    show(axes, image.image)
    true, predicted = shorten(image.true, NAME_LENGTH), shorten(image.predicted, NAME_LENGTH)
    axes.set_title(f"true: {true}\npred: {predicted} {image.confidence:.0%}", fontsize=8, color=colour)
    for spine in axes.spines.values():
        spine.set(edgecolor=colour, linewidth=3 if image.wrong else 0.5)
