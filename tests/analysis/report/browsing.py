"""What the tests of the page in a browser share."""

import os
import shutil

from playwright.sync_api import Page

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
# Parallel coordinates need WebGL. Without a GPU, Chromium offers it in software only with these flags.
FLAGS = ["--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--no-sandbox"]
AXIS = "#plot-parallel .axis-brush"


def local(url: str) -> bool:
    return url.startswith(("file:", "data:", "blob:"))


def selected(page: Page) -> int:
    return int(page.locator("#selection").get_attribute("data-count") or -1)


def wait_for_all_charts(page: Page) -> None:
    """Wait until also the charts that are not in view are drawn as they should be now."""
    page.wait_for_selector("html[data-drawn]", state="attached")


def brush(page: Page, axis: int, start: float, end: float) -> None:
    """Drag along an axis; ``start`` and ``end`` are shares of its length from the top."""
    place = page.locator(AXIS).nth(axis)
    place.scroll_into_view_if_needed()
    box = place.bounding_box()
    across = box["x"] + box["width"] / 2
    page.mouse.move(across, box["y"] + start * box["height"])
    page.mouse.down()
    for step in range(1, 6):
        page.mouse.move(across, box["y"] + (start + (end - start) * step / 5) * box["height"])
    page.mouse.up()
