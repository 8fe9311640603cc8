import os

import pytest

from analysis.report.build import build
from analysis.report.write import write
from analysis.study import StudyData
from tests.analysis.report.browsing import CHROMIUM, FLAGS, local, wait_for_all_charts
from tests.analysis.studies import early_stopped_study

HOSTILE = "</script><script>document.title='broken'</script>"


@pytest.fixture(scope="session")
def study() -> StudyData:
    """60 networks with recorded curves; half of them were stopped at the first rung, one failed with a hostile text."""
    study = early_stopped_study()
    study.trials.loc[0, ["state", "error"]] = ["failed", HOSTILE]
    return study


@pytest.fixture(scope="session")
def folder(study, tmp_path_factory):
    """The folder with the report and the tables of the study."""
    place = tmp_path_factory.mktemp("reports") / "a_study"
    write(build(study, place), place, csv=True)
    return place


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    if CHROMIUM is None:
        if os.environ.get("REQUIRE_CHROMIUM"):
            pytest.fail("no chromium on PATH; apt-get install chromium, or set CHROMIUM to a browser")
        pytest.skip("no chromium on PATH; apt-get install chromium, or set CHROMIUM to a browser")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


def said(message) -> bool:
    """Whether a message in the console is of the page: Chromium itself reports how fast a GPU in software is."""
    return "GL Driver Message (OpenGL, Performance" not in message.text


@pytest.fixture
def page(browser, folder):
    """The drawn page; at the end, asserts that its console stayed empty and no request left the machine."""
    context = browser.new_context(viewport={"width": 1200, "height": 900}, color_scheme="light")
    page, problems = context.new_page(), []
    page.on("console", lambda message: problems.append(f"{message.type}: {message.text}") if said(message) else None)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda request: problems.append(request.url) if not local(request.url) else None)
    page.goto(f"file://{folder / 'report.html'}")
    page.wait_for_selector("#selection[data-count]")
    wait_for_all_charts(page)
    yield page
    context.close()
    assert problems == []
