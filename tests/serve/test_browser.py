"""The pages in a real browser: what the user chose survives a refresh, and nothing is loaded from elsewhere."""

import os
import threading
import time

import pytest
import uvicorn
from playwright.sync_api import sync_playwright

from inat.serve.access import Access
from inat.serve.app import make_app
from inat.serve.listen import listening_socket
from tests.analysis.report.browsing import CHROMIUM, FLAGS, brush, wait_for_all_charts

pytestmark = pytest.mark.slow
PATIENCE = 240_000  # milliseconds for a report on a busy machine


@pytest.fixture
def site(folder, monkeypatch):
    """The address of the server, whose pages refresh more often than usual."""
    monkeypatch.setattr("inat.serve.app.REPORT_PAUSE", 1.0)
    monkeypatch.setattr("inat.serve.app.RUNNING_SECONDS", 1)
    listener = listening_socket("127.0.0.1", 0)
    port = listener.getsockname()[1]
    app = Access(make_app(folder), token=None, local_only=True, port=port)
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join()
    listener.close()


@pytest.fixture
def page(site):
    """A page; at the end, asserts that its console stayed empty and that it asked no other server."""
    if CHROMIUM is None:
        if os.environ.get("REQUIRE_CHROMIUM"):
            pytest.fail("no chromium on PATH; apt-get install chromium, or set CHROMIUM to a browser")
        pytest.skip("no chromium on PATH; apt-get install chromium, or set CHROMIUM to a browser")
    problems = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": 1200, "height": 900}, color_scheme="light")
        page.set_default_timeout(PATIENCE)
        page.on("console", lambda message: problems.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", lambda request: problems.append(request.url) if not own(request.url, site) else None)
        yield page
        browser.close()
    assert problems == []


def own(url: str, site: str) -> bool:
    return url.startswith((f"{site}/", "data:", "blob:"))


def zoom(page, figure: str) -> None:
    """Drag over the middle of a figure, which enlarges what lies there."""
    place = page.locator(f"{figure} .nsewdrag").first
    place.scroll_into_view_if_needed()
    box = place.bounding_box()
    page.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + 0.3 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.7 * box["width"], box["y"] + 0.7 * box["height"], steps=5)
    page.mouse.up()
    page.wait_for_function(f"document.querySelector('{figure}').layout.xaxis.autorange === false")


def test_a_growing_study_is_refreshed_and_what_the_user_did_stays(page, site, second):
    second.train(second.begin(), 3)
    second.study.write_trials()
    page.goto(f"{site}/study/second")
    page.get_by_text("No trial has ended yet").wait_for()
    second.study.end_trial("t0000", "completed")
    second.add(11)

    page.wait_for_selector("#selection[data-count]")  # the report, without loading the page again
    page.wait_for_function("document.getElementById('selection').textContent.includes('All 12 ')")
    dimensions = "document.getElementById('plot-parallel').data[0].dimensions"
    axis = page.evaluate(f"{dimensions}.findIndex(axis => axis.name === 'batch_norm')")
    brush(page, axis, 0.04, 0.3)
    page.wait_for_function("Number(document.getElementById('selection').dataset.count) < 12")
    chosen = int(page.get_attribute("#selection", "data-count"))
    wait_for_all_charts(page)
    zoom(page, "#plot-created")
    zoomed = page.evaluate("document.getElementById('plot-created').layout.xaxis.range.map(Number)")
    page.locator("details summary").first.click()
    page.evaluate("window.scrollTo(0, 700); document.body.dataset.mark = 'the same document'")
    table = page.evaluate("document.querySelector('#summary').textContent")

    second.add(8)
    page.wait_for_function("document.getElementById('selection').textContent.includes('of 20 trials selected')")
    wanted = [row for row in second.rows["batch_norm"][:20] if row]
    assert int(page.get_attribute("#selection", "data-count")) == len(wanted) > chosen
    assert page.evaluate(f"{dimensions}[{axis}].constraintrange !== undefined")
    page.wait_for_function("document.querySelector('#linked-trials h3').textContent.includes('selected of 20')")
    wait_for_all_charts(page)
    marked = "document.getElementById('plot-created').data[0].selectedpoints.length"
    assert page.locator("#linked-trials tbody tr").count() == 10  # the best of them, until the user asks for more
    assert page.evaluate(marked) == len(wanted)
    assert page.evaluate("document.getElementById('plot-created').layout.xaxis.range.map(Number)") == zoomed
    assert page.evaluate("document.querySelector('details').open")
    assert page.evaluate("document.body.dataset.mark") == "the same document"
    assert page.evaluate("window.scrollY") > 300
    assert page.evaluate("document.querySelector('#summary').textContent") != table
    assert page.locator("#live").inner_text().startswith("live: updated ")


def test_trials_are_chosen_in_the_address_and_stay_chosen_while_the_search_goes_on(page, site, second):
    second.add(6)
    page.goto(f"{site}/study/second/trials")
    page.wait_for_selector("#plot-chosen .scatterlayer .trace")
    assert page.locator("#plot-chosen .scatterlayer .trace").count() == 5
    boxes = page.locator("#trials input:checked")
    for _ in range(4):
        boxes.last.uncheck()
    page.wait_for_function("document.getElementById('plot-chosen').data.length === 1")
    (kept,) = page.evaluate("document.getElementById('plot-chosen').data.map(trace => trace.name)")
    assert f"trial={kept}" in page.url

    second.add(3)
    page.wait_for_selector("#trial-t0008")
    assert page.evaluate("document.getElementById('plot-chosen').data.map(trace => trace.name)") == [kept]
    assert page.locator("#trials input:checked").count() == 1
    page.goto(page.url)  # the address can be shared
    page.wait_for_selector("#plot-chosen .scatterlayer .trace")
    assert page.evaluate("document.getElementById('plot-chosen').data.map(trace => trace.name)") == [kept]


def test_the_list_keeps_what_is_ticked_and_compares_it(page, site, second):
    second.add(2)
    page.goto(site)
    page.get_by_label("compare first").check()
    second.add(1)
    page.wait_for_function("document.getElementById('study-second').textContent.includes('3 / 40')")
    assert page.get_by_label("compare first").is_checked()
    page.get_by_label("compare second").check()
    page.get_by_role("button", name="Compare").click()
    page.wait_for_selector("#figure-convergence svg")
    assert page.url.startswith(f"{site}/compare?study=")


@pytest.mark.parametrize("place", ["/", "/study/first/trials", "/study/first/errors/t0009"])
@pytest.mark.parametrize("width", [390, 1300])
def test_pages_fit_the_screen(page, site, place, width):
    page.set_viewport_size({"width": width, "height": 844})
    page.goto(site + place)
    page.wait_for_function("!document.getElementById('live').hidden")
    time.sleep(0.5)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
