"""Shared drawing helpers: arrays to images, figures to files."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg  # draws without a display
from matplotlib.figure import Figure
from numpy.typing import NDArray

from analysis.escaping import LAYOUT, printable
from analysis.files import is_inside
from analysis.terminal import PlainConsole
from inat.config.validation import expanded
from inat.errors import DataError
from inat.interpret.examples import INTERPRET_DIR, InterpretOptions
from inat.study.atomic_io import atomic_replace
from inat.training.inference import model_file

DPI = 110
# A PNG above MAX_BYTES is slow to send and open.
MAX_BYTES, MIN_DPI = 1_000_000, 70
GAP = 1  # pixels between the cells of a mosaic
Floats = NDArray[np.floating[Any]]


def output_folder(options: InterpretOptions, below: str = "") -> Path:
    """Create and return the folder for the figures, or the folder ``below`` it.

    Raises StudyError if the options name no model, DataError if the folder cannot be created, or is a link.
    """
    parent = expanded(options.output) if options.output else model_file(options.model).parent
    folder = (parent if options.output else parent / INTERPRET_DIR) / below
    with as_data_error(folder):
        folder.mkdir(parents=True, exist_ok=True)
    if not is_inside(folder, parent):  # in a study that somebody else made
        raise DataError(f"{folder} is a link that leads out of {parent}; remove it, or pass --output")
    return folder


@dataclass(frozen=True, slots=True)
class Picture:
    """A PNG file that was drawn: its path, a title for a page, and what it shows, in a sentence."""

    path: Path
    title: str
    alt: str


def save(figure: Figure, path: Path, max_bytes: int = MAX_BYTES) -> Path:
    """Write ``figure`` as a PNG, print its path and return it; raises DataError if the file cannot be written.

    A file above ``max_bytes`` is drawn again at a lower resolution, but not below ``MIN_DPI``.
    """
    with as_data_error(path), atomic_replace(path, sync=False) as partial:
        canvas = FigureCanvasAgg(figure)
        canvas.print_png(str(partial))
        if (excess := partial.stat().st_size / max_bytes) > 1:
            figure.set_dpi(max(MIN_DPI, 0.9 * DPI / sqrt(excess)))  # 0.9: a smaller image compresses less well
            canvas.print_png(str(partial))
    PlainConsole().print(str(path))
    return path


@contextmanager
def as_data_error(path: Path) -> Iterator[None]:
    """Convert the OSError of a file that cannot be written into a DataError."""
    try:
        yield
    except OSError as error:
        raise DataError(f"cannot write {path} ({error.strerror or error}); choose another --output") from error


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of ``width`` x ``height`` inches that reserves space for its texts."""
    return Figure(figsize=(width, height), dpi=DPI, layout="constrained")


def mosaic(cells: Floats, columns: int) -> Floats:
    """Arrange cells (N, h, w) or (N, h, w, colours) row by row in one image, with NaN in gaps and empty cells."""
    count, height, width = cells.shape[:3]
    columns = min(columns, count)
    rows = -(-count // columns)
    shape = (rows * (height + GAP) - GAP, columns * (width + GAP) - GAP, *cells.shape[3:])
    image = np.full(shape, np.nan)
    for index, cell in enumerate(cells):
        top, left = index // columns * (height + GAP), index % columns * (width + GAP)
        image[top : top + height, left : left + width] = cell
    return image


def stretch_cells(cells: Floats) -> Floats:
    """Scale each cell (N, ...) from its minimum..maximum to 0..1; a cell with a single value becomes 0.5."""
    flat = cells.reshape(len(cells), -1)
    low, high = flat.min(1), flat.max(1)
    shape = (-1, *[1] * (cells.ndim - 1))
    spread = np.where(high > low, high - low, 1).reshape(shape)
    scaled: Floats = (cells - low.reshape(shape)) / spread
    scaled[high <= low] = 0.5
    return scaled


def center_on_grey(values: Floats) -> Floats:
    """Scale values (h, w, colours) to 0..1 with 0 at 0.5, grey; the largest 0.5 % of magnitudes are clipped."""
    limit = float(np.quantile(np.abs(values), 0.995)) or float(np.abs(values).max()) or 1.0
    clipped: Floats = np.clip(0.5 + values / (2 * limit), 0, 1)
    return clipped


def show(axes: Axes, image: Any, **options: Any) -> Any:
    """Draw an image (h, w) or (h, w, 3) without ticks and with NaN as white; returns what ``imshow`` returns."""
    axes.set(xticks=[], yticks=[])
    if image.ndim == 3 and image.dtype.kind == "f":
        image = np.where(np.isnan(image), 1.0, image)
    return axes.imshow(image, **options)


def write_title(axes: Axes, text: str, **style: Any) -> None:
    """Write ``text``, which may hold names of strangers, above an image: no formulas, no control characters."""
    axes.set_title(printable(text, LAYOUT), parse_math=False, **style)


def shorten(text: str, length: int) -> str:
    """``text`` cut to at most ``length`` characters, the last one an ellipsis."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


def shorten_start(text: str, length: int) -> str:
    """``text`` cut to its last ``length`` characters, the first one an ellipsis: the end of a path is its file."""
    return text if len(text) <= length else f"…{text[len(text) - length + 1 :]}"
