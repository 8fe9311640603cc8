"""The page in a real browser: it draws without errors or network, and its axes can be brushed."""

import pytest
from playwright.sync_api import Error

from tests.analysis.report.browsing import AXIS, brush, selected, wait_for_all_charts

pytestmark = pytest.mark.slow


def test_interactive_plots_replace_static_figures(page):
    assert page.locator(AXIS).count() == 8  # six hyperparameters, epochs, accuracy
    for name in ("parallel", "created", "curves", "slices", "interaction"):
        assert page.locator(f"#plot-{name}").bounding_box()["height"] > 200
    assert page.locator("#plot-created .scatterlayer .point").count() >= 60
    assert not page.locator(".fallback").first.is_visible()
    assert page.locator(".static svg").count() == 8


def test_lines_are_drawn_in_colour(page):
    """The canvas of the parallel coordinates has coloured pixels."""
    shot = page.locator("#plot-parallel").screenshot()
    import io

    import numpy as np
    from PIL import Image

    pixels = np.asarray(Image.open(io.BytesIO(shot)).convert("RGB")).astype(int)
    coloured = (pixels.max(axis=2) - pixels.min(axis=2)) > 60
    assert coloured.mean() > 0.01


@pytest.mark.parametrize("axis", range(8))
def test_brushing_an_axis_changes_the_selection(page, axis):
    assert selected(page) == 60
    brush(page, axis, 0.04, 0.3)
    page.wait_for_function("Number(document.getElementById('selection').dataset.count) < 60")
    assert 0 < selected(page) < 60
    page.get_by_text("Show all").click()
    page.wait_for_function("document.getElementById('selection').dataset.count == '60'")


def test_a_selection_has_exactly_the_trials_of_a_value_and_highlights_them_elsewhere(page, study):
    names = page.evaluate("document.getElementById('plot-parallel').data[0].dimensions.map(d => d.label)")
    axis = names.index("batch norm")
    brush(page, axis, 0.04, 0.3)
    page.wait_for_function("Number(document.getElementById('selection').dataset.count) < 60")
    wait_for_all_charts(page)
    wanted = study.trials[study.trials["batch_norm"].astype(bool)]
    assert selected(page) == len(wanted)
    text = page.locator("#selection").inner_text()
    assert f"best {wanted['best_val_acc'].max():.4f}" in text
    assert f"median {wanted['best_val_acc'].median():.4f}" in text
    assert wanted.loc[wanted["best_val_acc"].idxmax(), "trial_id"] in text
    marked = page.evaluate("document.getElementById('plot-created').data[0].selectedpoints.length")
    assert marked == len(wanted)


def test_the_dark_theme_changes_colours_and_keeps_the_selection(page):
    brush(page, 0, 0.04, 0.3)
    page.wait_for_function("Number(document.getElementById('selection').dataset.count) < 60")
    before, light = selected(page), page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.locator("#theme").click()
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    ink = page.evaluate("document.getElementById('plot-parallel').layout.font.color")
    assert (light, dark, ink) == ("rgb(255, 255, 255)", "rgb(20, 24, 28)", "#e4e8ec")
    assert selected(page) == before
    assert page.evaluate("document.getElementById('plot-parallel').data[0].dimensions[0].constraintrange") is not None


def test_the_systems_dark_theme_is_followed(browser, folder):
    page = browser.new_page(color_scheme="dark")
    page.goto(f"file://{folder / 'report.html'}")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 24, 28)"
    page.close()


def test_print_shows_static_figures_on_white(page):
    page.locator("#theme").click()
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.locator(".fallback").first.is_visible()
    assert not page.locator("#plot-parallel").is_visible()
    assert not page.locator("nav").is_visible()


def test_without_webgl_the_static_figures_stay(browser, folder):
    page = browser.new_page()
    page.add_init_script("HTMLCanvasElement.prototype.getContext = () => null;")
    page.goto(f"file://{folder / 'report.html'}")
    assert page.locator(".fallback").first.is_visible()
    assert not page.locator("#plot-parallel").is_visible()
    page.close()


def test_a_narrow_screen_does_not_scroll_sideways(browser, folder):
    page = browser.new_page(viewport={"width": 390, "height": 800})
    page.goto(f"file://{folder / 'report.html'}")
    page.wait_for_selector(AXIS, state="attached")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.close()


def test_on_a_phone_charts_fit_with_their_panels_below_each_other(browser, folder):
    page = browser.new_page(viewport={"width": 390, "height": 800})
    page.goto(f"file://{folder / 'report.html'}")
    wait_for_all_charts(page)
    widths = page.evaluate("""['created', 'curves', 'progress', 'costs'].map(name => {
        const figure = document.getElementById('figure-' + name); return figure.scrollWidth - figure.clientWidth; })""")
    assert widths == [0, 0, 0, 0]
    layout = page.evaluate("document.getElementById('plot-curves').layout")
    panels = [layout[f"yaxis{number}"]["domain"] for number in ("", 2)]
    assert panels[1][1] < panels[0][0]
    assert page.locator("#figure-parallel.wide[tabindex='0']").count() == 1  # which says that it can be scrolled
    page.close()


def test_tables_of_14_columns_fit_a_laptop(browser, folder):
    page = browser.new_page(viewport={"width": 1300, "height": 800})
    page.goto(f"file://{folder / 'report.html'}")
    cut = page.evaluate("""[...document.querySelectorAll('.scroll')].filter(e => e.clientWidth
        && e.querySelectorAll('th').length <= 14 && e.scrollWidth > e.clientWidth + 1).length""")
    assert cut == 0
    page.close()


def test_the_dark_page_has_colours_of_its_own_for_trials(page):
    scale = "document.getElementById('plot-parallel').data[0].line.colorscale[0][1]"
    light = page.evaluate(scale)
    page.locator("#theme").click()
    assert (light, page.evaluate(scale)) == ("#b9c7d3", "#4d5b67")


def test_every_figure_has_a_title(page):
    above = page.evaluate("[...document.querySelectorAll('figure')].map(e => e.previousElementSibling)")
    assert len(above) >= 10
    tags = page.evaluate("[...document.querySelectorAll('figure')].map(e => e.previousElementSibling.tagName)")
    assert set(tags) == {"H3"}


def test_every_figure_has_a_description(page):
    unnamed = page.evaluate("""[...document.querySelectorAll('figure svg:not(.plot svg), .plot')]
        .filter(e => !e.getAttribute('aria-label')).length""")
    assert unnamed == 0
    try:
        name = page.get_by_role("group", name="Parallel coordinates").first
        assert name.is_visible()
    except Error as error:
        pytest.fail(str(error))
