import io
import re

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from analysis.figures.style import INK, new_figure, png_bytes, styled, svg_text


def example_figure() -> Figure:
    return styled(_draw)()


def _draw() -> Figure:
    figure = new_figure()
    figure.add_subplot().plot([1, 2, 3])
    return figure


def test_an_svg_has_the_colours_of_the_page_and_unique_ids():
    svg = svg_text(example_figure(), "first")
    assert svg.startswith("<svg ")
    assert INK not in svg
    assert "var(--ink)" in svg
    ids = re.findall(r'\bid="([^"]*)"', svg)
    assert ids
    assert all(name.startswith("first-") for name in ids)
    referred = re.findall(r"url\(#([^)]*)\)", svg) + re.findall(r'href="#([^"]*)"', svg)
    assert referred
    assert set(referred) <= set(ids)


def test_an_svg_scales_with_the_page():
    start = svg_text(example_figure(), "a").split(">")[0]
    assert "viewBox" in start
    assert "height=" not in start
    assert "width=" not in start


def test_the_same_figure_gives_the_same_file():
    assert png_bytes(example_figure()) == png_bytes(example_figure())
    assert svg_text(example_figure(), "a") == svg_text(example_figure(), "a")


def test_a_png_file_has_its_title_above_the_axes():
    files = (png_bytes(example_figure(), title) for title in ("", "Busy slots $1"))
    plain, titled = (np.asarray(Image.open(io.BytesIO(file)).convert("L")) for file in files)
    first_ink = [int(np.flatnonzero((image < 200).any(axis=1))[0]) for image in (plain, titled)]
    axes_tops = [int(np.flatnonzero((image < 255).mean(axis=1) > 0.5)[0]) for image in (plain, titled)]
    assert axes_tops[1] > axes_tops[0] + 10  # the axes make room
    assert first_ink[1] < axes_tops[1] - 10  # for the title


def test_the_title_of_a_png_file_is_not_in_the_page_as_well():
    figure = example_figure()
    png_bytes(figure, "Busy slots $1")
    assert "Busy slots" not in svg_text(figure, "a")


def test_png_files_have_a_white_background():
    picture = Image.open(io.BytesIO(png_bytes(example_figure()))).convert("RGB")
    assert picture.getpixel((0, 0)) == (255, 255, 255)
