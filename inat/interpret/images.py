"""What the pictures share: how arrays become images, and how figures become files."""

from collections.abc import Iterator
from contextlib import contextmanager
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg  # draws into files, whatever screen there is
from matplotlib.figure import Figure
from numpy.typing import NDArray
from rich.console import Console

from inat.errors import DataError
from inat.interpret.examples import INTERPRET_DIR, Source
from inat.study.atomic_io import atomic_replace
from inat.training.inference import model_file

DPI = 110
# Bytes of a picture that is easily sent and shown; a larger one is drawn again with fewer dots, down to LEAST_DPI.
LARGEST, LEAST_DPI = 1_000_000, 70
GAP = 1  # pixels between the cells of a mosaic
Floats = NDArray[np.floating[Any]]


def output_folder(source: Source, below: str = "") -> Path:
    """Where the pictures go, or those of one kind ``below`` it; DataError if it cannot be made."""
    folder = source.output.expanduser() if source.output else model_file(source.model).parent / INTERPRET_DIR
    folder /= below
    with _unwritable_told(folder):
        folder.mkdir(parents=True, exist_ok=True)
    return folder


def save(figure: Figure, path: Path) -> None:
    """Write ``figure`` as a PNG and print where; DataError if that is refused."""
    with _unwritable_told(path), atomic_replace(path, sync=False) as partial:
        canvas = FigureCanvasAgg(figure)
        canvas.print_png(str(partial))
        if (excess := partial.stat().st_size / LARGEST) > 1:
            figure.set_dpi(max(LEAST_DPI, 0.9 * DPI / sqrt(excess)))  # 0.9: fewer dots do not compress as well
            canvas.print_png(str(partial))
    Console(soft_wrap=True, markup=False, highlight=False).print(str(path))


@contextmanager
def _unwritable_told(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(f"cannot write {path} ({error.strerror or error}); choose another --output") from error


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of that many inches, whose texts make room for each other."""
    return Figure(figsize=(width, height), dpi=DPI, layout="constrained")


def mosaic(cells: Floats, columns: int) -> Floats:
    """Cells (N, h, w) or (N, h, w, colours) row by row in one image, NaN between them and where there are none."""
    count, height, width = cells.shape[:3]
    columns = min(columns, count)
    rows = -(-count // columns)
    shape = (rows * (height + GAP) - GAP, columns * (width + GAP) - GAP, *cells.shape[3:])
    image = np.full(shape, np.nan)
    for index, cell in enumerate(cells):
        top, left = index // columns * (height + GAP), index % columns * (width + GAP)
        image[top : top + height, left : left + width] = cell
    return image


def stretched(cells: Floats) -> Floats:
    """Each cell (N, ...) from its least value to its greatest as 0..1; all 0.5 where it has a single value."""
    flat = cells.reshape(len(cells), -1)
    low, high = flat.min(1), flat.max(1)
    shape = (-1, *[1] * (cells.ndim - 1))
    spread = np.where(high > low, high - low, 1).reshape(shape)
    scaled: Floats = (cells - low.reshape(shape)) / spread
    scaled[high <= low] = 0.5
    return scaled


def around_grey(values: Floats) -> Floats:
    """Values (h, w, colours) with 0 as medium grey; the outermost half percent is cut off at black and white."""
    limit = float(np.quantile(np.abs(values), 0.995)) or float(np.abs(values).max()) or 1.0
    clipped: Floats = np.clip(0.5 + values / (2 * limit), 0, 1)
    return clipped


def show(axes: Axes, image: Any, **options: Any) -> Any:
    """Draw an image without ticks; NaN is white."""
    axes.set(xticks=[], yticks=[])
    if image.ndim == 3 and image.dtype.kind == "f":
        image = np.where(np.isnan(image), 1.0, image)
    return axes.imshow(image, **options)


def shortened(text: str, length: int) -> str:
    """``text`` in at most ``length`` characters, with an ellipsis where it was longer."""
    return text if len(text) <= length else f"{text[: length - 1]}…"
