"""The page in a real browser: it fits each screen, and shows its pictures without a message or a request."""

import os
import shutil

import pytest
from playwright.sync_api import sync_playwright

from analysis.report.page import render
from inat.data.inspect.page import make_page
from inat.data.inspect.search_time import SearchTime

pytestmark = pytest.mark.slow
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on PATH; apt-get install chromium, or set CHROMIUM")
@pytest.mark.parametrize(("width", "scheme"), [(1300, "light"), (390, "dark")])
def test_the_page_fits_the_screen_and_loads_nothing(found, tmp_path, width, scheme):
    place = tmp_path / "page.html"
    place.write_text(render(make_page(found, "photos", "next", SearchTime(60, 480, 2, "2 cores"))), encoding="utf-8")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        problems = []
        page.on("console", lambda message: problems.append(message.text))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", lambda request: problems.append(request.url) if request.url.startswith("http") else None)
        page.goto(place.as_uri())
        shown = page.eval_on_selector_all("img", "all => all.map(image => image.naturalWidth)")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        browser.close()
    assert problems == []
    assert len(shown) > 20
    assert min(shown) > 0
