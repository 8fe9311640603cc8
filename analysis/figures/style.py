"""One look for all pictures, which files on white and pages in light and dark share."""

import io
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import matplotlib
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LinearSegmentedColormap
from matplotlib.figure import Figure

P = ParamSpec("P")
R = TypeVar("R")

# In a page these three take the page's own colours; they are not used for anything but text, helping lines and grid.
INK, MUTED, GRID = "#1f2328", "#6b7480", "#d9dfe5"
PAGE_COLOURS = {INK: "var(--ink)", MUTED: "var(--muted)", GRID: "var(--grid)"}

# Okabe and Ito's colours, which colour-blind readers tell apart, darkened until they stand out on white and on black.
BLUE, ORANGE, GREEN, RED, GREY = "#2b7fb8", "#d9730d", "#1a9b74", "#cf4a3c", "#8d96a0"
STATE_COLOURS = {"completed": BLUE, "stopped": GREY, "failed": RED, "running": GREEN}
# Bad trials are pale, good ones dark and warm, on both backgrounds.
SCALE = ((0.0, "#b9c7d3"), (0.45, "#5fa3c7"), (0.75, "#2b7fb8"), (0.92, "#d9730d"), (1.0, "#c2410c"))

BLUES = ((0.0, "#dbe6ee"), (0.5, "#6fa8cc"), (1.0, "#14527f"))  # of fields with numbers on them

PNG_DPI = 150
LONGEST = 40  # characters of a label
WIDTH = 11.0  # inches
ROW = 0.3  # inches of a row in charts with one row a value

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
    "text.parse_math": False,  # a $ in a name is a dollar
    "svg.fonttype": "none",  # text stays text: it can be searched and read aloud
    "svg.hashsalt": "study",  # the same study gives the same file
}


def colour_map(scale: Sequence[tuple[float, str]] = SCALE) -> Colormap:
    """A scale of colours for matplotlib."""
    return LinearSegmentedColormap.from_list("accuracy", list(scale))


@contextmanager
def look() -> Iterator[None]:
    """The settings that pictures are made with."""
    with matplotlib.rc_context(RC):
        yield


def styled(draw: Callable[P, R]) -> Callable[P, R]:
    """Make a function that draws do so with these settings, whoever calls it."""

    @wraps(draw)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        with look():
            return draw(*args, **kwargs)

    return wrapped


def new_figure(width: float = WIDTH, height: float = 3.6) -> Figure:
    """An empty figure of so many inches that no window knows of, so that it needs no closing."""
    return Figure(figsize=(width, height), layout="constrained")


def axes_or_new(ax: Axes | None, height: float = 3.6) -> Axes:
    """``ax``, or the one of a new figure."""
    return ax if ax is not None else new_figure(height=height).add_subplot()


def shortened(text: object, longest: int = LONGEST) -> str:
    """A label that leaves room for the picture."""
    label = " ".join(str(text).split())
    return label if len(label) <= longest else label[: longest - 1] + "…"


def say(ax: Axes, text: str) -> Axes:
    """Axes that show why there is nothing to draw."""
    ax.set_axis_off()
    ax.text(0.5, 0.5, text, ha="center", va="center", color=MUTED, transform=ax.transAxes)
    return ax


def png_bytes(figure: Figure) -> bytes:
    """The picture on white."""
    buffer = io.BytesIO()
    with look():
        figure.savefig(buffer, format="png", dpi=PNG_DPI, facecolor="white", metadata={"Software": None})
    return buffer.getvalue()


def svg_text(figure: Figure, prefix: str) -> str:
    """The picture as an element of a page, in the page's colours; ``prefix`` keeps its ids apart from others'."""
    buffer = io.StringIO()
    with look():
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{prefix}-", svg)
    # Beside viewBox, sizes in points would keep it from shrinking with the page.
    svg = re.sub(r'<svg ([^>]*?)\bheight="[^"]*pt"', r"<svg \1", svg, count=1)
    svg = re.sub(r'<svg ([^>]*?)\bwidth="[^"]*pt"', r"<svg \1", svg, count=1)
    for colour, variable in PAGE_COLOURS.items():
        svg = svg.replace(colour, variable)
    return svg
