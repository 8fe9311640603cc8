import re

from matplotlib.figure import Figure

from analysis.figures.style import INK, new_figure, png_bytes, styled, svg_text


def drawing() -> Figure:
    return styled(_draw)()


def _draw() -> Figure:
    figure = new_figure()
    figure.add_subplot().plot([1, 2, 3])
    return figure


def test_a_picture_in_a_page_has_the_pages_colours_and_ids_of_its_own():
    svg = svg_text(drawing(), "first")
    assert svg.startswith("<svg ")
    assert INK not in svg
    assert "var(--ink)" in svg
    ids = re.findall(r'\bid="([^"]*)"', svg)
    assert ids
    assert all(name.startswith("first-") for name in ids)
    referred = re.findall(r"url\(#([^)]*)\)", svg) + re.findall(r'href="#([^"]*)"', svg)
    assert referred
    assert set(referred) <= set(ids)


def test_a_picture_in_a_page_can_shrink():
    start = svg_text(drawing(), "a").split(">")[0]
    assert "viewBox" in start
    assert "height=" not in start
    assert "width=" not in start


def test_the_same_picture_is_the_same_file():
    assert png_bytes(drawing()) == png_bytes(drawing())
    assert svg_text(drawing(), "a") == svg_text(drawing(), "a")


def test_files_are_on_white():
    import io

    from PIL import Image

    picture = Image.open(io.BytesIO(png_bytes(drawing()))).convert("RGB")
    assert picture.getpixel((0, 0)) == (255, 255, 255)
