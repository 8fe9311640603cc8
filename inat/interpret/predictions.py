"""Test photographs with what they are and what the model takes them for."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from inat.data.splits import Split
from inat.interpret.examples import Source, images_of, labels_of, test_split
from inat.interpret.images import new_figure, output_folder, save, shortened, show
from inat.training.inference import Model

COLUMNS = 3
WIDTH, HEIGHT = 1.75, 1.95  # inches of a photograph with its title
NAME_LENGTH = 20
WRONG, RIGHT = "#d62728", "#404040"


@dataclass(frozen=True, slots=True)
class Shown:
    """A photograph (S, S, 3) uint8 with its class, the predicted one and the confidence in that."""

    image: NDArray[np.uint8]
    true: str
    predicted: str
    confidence: float

    @property
    def wrong(self) -> bool:
        """Whether the model takes it for another class."""
        return self.true != self.predicted


def draw_predictions(model: Model, source: Source, *, worst: bool = False) -> None:
    """Write a grid of three test photographs a class, or as many of the most confident mistakes.

    Prints that there is none if the model makes no mistake.
    """
    split = test_split(model, source)
    folder = output_folder(source)
    total = f"{len(split):,} test photos"
    if not worst:
        rows = [shown(model, split, chosen) for chosen in three_a_class(split, len(model.classes), source.seed)]
        save(
            grid(rows, f"Predictions for {sum(map(len, rows))} of {total}, {COLUMNS} a class"),
            folder / "predictions.png",
        )
        return
    mistakes, count = worst_mistakes(model, split, COLUMNS * len(model.classes))
    if not mistakes:
        print(f"no picture: all of the {total} are predicted correctly")
        return
    which = "All" if count == len(mistakes) else f"The most confident {len(mistakes)} of"
    title = f"{which} {count:,} mistakes among {total}"
    rows = [mistakes[start : start + COLUMNS] for start in range(0, len(mistakes), COLUMNS)]
    save(grid(rows, title), folder / "predictions-worst.png")


def three_a_class(split: Split, classes: int, seed: int) -> list[NDArray[np.int64]]:
    """Positions in ``split`` of three photographs of each class, or all it has, drawn from ``seed``."""
    generator, labels = np.random.default_rng(seed), labels_of(split)
    places = (np.flatnonzero(labels == label) for label in range(classes))
    return [generator.permutation(found)[:COLUMNS] for found in places]


def shown(model: Model, split: Split, chosen: Sequence[int] | NDArray[np.int64]) -> list[Shown]:
    """The photographs at these positions of ``split``, predicted batch by batch."""
    found = []
    for start in range(0, len(chosen), model.batch_size):
        part = chosen[start : start + model.batch_size]
        images, labels = images_of(split, part), labels_of(split)[part]
        for image, label, row in zip(images, labels, model.confidences(images), strict=True):
            best = int(row.argmax())
            found.append(Shown(image, model.classes[label], model.classes[best], float(row[best])))
    return found


def worst_mistakes(model: Model, split: Split, most: int) -> tuple[list[Shown], int]:
    """The mistakes in ``split``, the most confident first and at most ``most``, and how many there are."""
    mistakes = [photo for photo in shown(model, split, range(len(split))) if photo.wrong]
    return sorted(mistakes, key=lambda photo: -photo.confidence)[:most], len(mistakes)


def grid(rows: Sequence[Sequence[Shown]], title: str) -> Figure:
    """One row of photographs for each of ``rows``; wrong predictions are framed and written red."""
    figure = new_figure(WIDTH * COLUMNS, HEIGHT * len(rows) + 0.5)
    figure.suptitle(title, fontsize=10)
    for line, photos in zip(figure.subplots(len(rows), COLUMNS, squeeze=False), rows, strict=True):
        for axes in line[len(photos) :]:
            axes.set_axis_off()
        for axes, photo in zip(line, photos, strict=False):
            _draw(axes, photo)
    return figure


def _draw(axes: Axes, photo: Shown) -> None:
    colour = WRONG if photo.wrong else RIGHT
    show(axes, photo.image)
    true, predicted = shortened(photo.true, NAME_LENGTH), shortened(photo.predicted, NAME_LENGTH)
    axes.set_title(f"is {true}\nsaid {predicted} {photo.confidence:.0%}", fontsize=8, color=colour)
    for spine in axes.spines.values():
        spine.set(edgecolor=colour, linewidth=3 if photo.wrong else 0.5)
