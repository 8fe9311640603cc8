"""The style of all figures, for PNG files on white and for SVG in light and dark pages."""

import io
import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import matplotlib
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from PIL import Image

from analysis.escaping import LAYOUT, printable

P = ParamSpec("P")
R = TypeVar("R")

# In a page these colours are replaced by the page's own; use them for text, its background, guide lines and grids.
INK, MUTED, GRID, PAPER = "#1f2328", "#6b7480", "#d9dfe5", "#fffffe"
PAGE_COLOURS = {INK: "var(--ink)", MUTED: "var(--muted)", GRID: "var(--grid)", PAPER: "var(--paper)"}

# Okabe and Ito's colour-blind safe palette, darkened to stand out on white and on black.
BLUE, ORANGE, GREEN, RED, GREY = "#2b7fb8", "#d9730d", "#1a9b74", "#cf4a3c", "#8d96a0"
STATE_COLOURS = {"completed": BLUE, "stopped": GREY, "failed": RED, "running": GREEN}
# Good trials stand out from the background most: on white they are dark and warm, on black bright and warm.
DARK_SCALE = ((0.0, "#4d5b67"), (0.45, "#2f6f96"), (0.75, "#4fa3d8"), (0.92, "#f09a45"), (1.0, "#ffb870"))
SCALE = ((0.0, "#b9c7d3"), (0.45, "#5fa3c7"), (0.75, "#2b7fb8"), (0.92, "#d9730d"), (1.0, "#c2410c"))

# Background of cells with numbers: transparent, so that low values are near the page's colour, light or dark.
BLUES = ((0.0, "#2b7fb81f"), (1.0, "#2b7fb8ff"))
STRONG = 0.85  # share of BLUES from which text in a cell is white

PNG_DPI = 150
SMALL_IMAGE = 4000  # characters; a colour bar, in which few colours would be seen as steps
RASTER_DPI = 72  # of the dense parts of a drawing in a page, where an interactive figure mostly takes its place
MAX_LABEL_LENGTH = 40  # characters
WIDTH = 11.0  # inches
ROW_HEIGHT = 0.3  # inches per row, in charts with one row per value

RC: Any = {
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.titlesize": 10.5,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "figure.constrained_layout.use": True,
    "text.parse_math": False,  # a $ in a name is not TeX
    "svg.fonttype": "none",  # text stays text, which can be searched and read aloud
    "svg.hashsalt": "study",  # the same study gives the same file
}


def colour_map(scale: Sequence[tuple[float, str]] = SCALE) -> Colormap:
    """A matplotlib colour map from (position, colour) pairs."""
    return LinearSegmentedColormap.from_list("accuracy", list(scale))


@contextmanager
def figure_settings() -> Iterator[None]:
    """Apply RC to the matplotlib calls in the block."""
    with matplotlib.rc_context(RC):
        yield


def styled(draw: Callable[P, R]) -> Callable[P, R]:
    """Decorate a drawing function so that it always draws with the settings RC."""

    @wraps(draw)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        with figure_settings():
            return draw(*args, **kwargs)

    return wrapped


def log_axis(ax: Axes) -> None:
    """Give the x axis a log scale with plain numbers; matplotlib would write powers as TeX, which RC switches off."""
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(LogLocator(base=10, subs=(1, 2, 5), numticks=12))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}" if value >= 1 else f"{value:g}"))
    ax.xaxis.set_minor_formatter(NullFormatter())


def new_figure(width: float = WIDTH, height: float = 3.6) -> Figure:
    """An empty figure, sizes in inches; pyplot does not know it, so it need not be closed."""
    return Figure(figsize=(width, height), layout="constrained")


def axes_or_new(ax: Axes | None, height: float = 3.6) -> Axes:
    """Return ``ax``, or the axes of a new figure."""
    return ax if ax is not None else new_figure(height=height).add_subplot()


def shortened(text: object, max_length: int = MAX_LABEL_LENGTH) -> str:
    """Cut a label to ``max_length`` characters."""
    label = " ".join(str(text).split())
    return label if len(label) <= max_length else label[: max_length - 1] + "…"


def show_message(ax: Axes, text: str) -> Axes:
    """Write into ``ax`` why there is nothing to draw."""
    ax.set_axis_off()
    ax.text(0.5, 0.5, text, ha="center", va="center", color=MUTED, transform=ax.transAxes)
    return ax


def png_bytes(figure: Figure, title: str = "") -> bytes:
    """The figure as a PNG file with a white background; ``title`` stands above it, only in this file."""
    buffer = io.BytesIO()
    with figure_settings():
        above = figure.suptitle(printable(title), x=0.005, ha="left", fontsize=12, fontweight="bold", in_layout=True)
        above.set_in_layout(bool(title))
        figure.savefig(buffer, format="png", dpi=PNG_DPI, facecolor="white", metadata={"Software": None})
        above.set(text="", in_layout=False)  # a page writes the title itself
    return buffer.getvalue()


def svg_text(figure: Figure, prefix: str) -> str:
    """The figure as an SVG element in the colours of the page; ``prefix`` makes its ids unique in the page."""
    buffer = io.StringIO()
    with figure_settings():
        figure.savefig(buffer, format="svg", dpi=RASTER_DPI, transparent=True, metadata={"Date": None, "Creator": None})
    svg = printable(buffer.getvalue(), LAYOUT)
    svg = _smaller(svg[svg.index("<svg") :])
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{prefix}-", svg)
    # With a width and height in points, the browser would not scale the SVG to the page.
    svg = re.sub(r'<svg ([^>]*?)\bheight="[^"]*pt"', r"<svg \1", svg, count=1)
    svg = re.sub(r'<svg ([^>]*?)\bwidth="[^"]*pt"', r"<svg \1", svg, count=1)
    for colour, variable in PAGE_COLOURS.items():
        svg = svg.replace(colour, variable)
    return svg


def _smaller(svg: str) -> str:
    """The same drawing in fewer characters: coordinates to 0.01 points, images of 32 colours, short lists of fonts."""
    svg = re.sub(r"<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = re.sub(r">\s+<", "><", svg)
    svg = re.sub(r'\b(?:d|points|transform|[xy][12]?)="[^"]*"', lambda found: _rounded(found[0]), svg)
    svg = re.sub(r"('DejaVu Sans'),[^;\"]*?(sans-serif)", r"\1, \2", svg)  # in the style of each text
    return re.sub(r"(data:image/png;base64,)([A-Za-z0-9+/=\s]+)", lambda found: found[1] + _few_colours(found[2]), svg)


def _rounded(attribute: str) -> str:
    return " ".join(re.sub(r"(\.\d\d)\d+", r"\1", attribute).split())


def _few_colours(png: str) -> str:
    """A PNG image in base64 with a palette, a third of its size; thin lines and dots have few colours."""
    if len(png) < SMALL_IMAGE:
        return png
    with Image.open(io.BytesIO(b64decode(png))) as image:
        buffer = io.BytesIO()
        image.convert("RGBA").quantize(32, Image.Quantize.FASTOCTREE).save(buffer, "PNG", optimize=True)
    return b64encode(buffer.getvalue()).decode()
