"""Charts are saved as files by the page itself, without a network."""

import csv
import io

import numpy as np
import pytest
from PIL import Image

from tests.analysis.report.browsing import brush
from tests.analysis.report.test_linked import axis_of, wait_for_fewer

pytestmark = pytest.mark.slow
INTERACTIVE, STATIC = ("parallel", "created"), ("panel", "importance")


def save(page, figure: str, kind: str) -> tuple[str, bytes]:
    """Name and content of the file that the chart's menu saves."""
    menu = page.locator(f"#figure-{figure} details.save")
    if menu.get_attribute("open") is None:
        menu.locator("summary").click()
    with page.expect_download() as download:
        menu.locator(f"[data-save={kind}]").click()
    return download.value.suggested_filename, download.value.path().read_bytes()


def rows_of(content: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(content.decode("utf-8-sig"))))


@pytest.mark.parametrize("figure", [*INTERACTIVE, *STATIC])
def test_a_png_has_the_chart_on_white(page, figure):
    page.locator("#theme").click()  # a dark page saves for paper all the same
    name, content = save(page, figure, "png")
    assert name == f"a_study-{figure}.png"
    image = Image.open(io.BytesIO(content)).convert("RGB")
    pixels = np.asarray(image).astype(int)
    assert image.width >= 1400
    assert pixels[0, 0].tolist() == [255, 255, 255]
    assert (pixels.max(axis=2) - pixels.min(axis=2) > 60).mean() > 0.002  # something coloured
    assert pixels[:60, : image.width // 2].min() < 100  # the title


@pytest.mark.parametrize("figure", [*INTERACTIVE, *STATIC])
def test_an_svg_is_drawn_elsewhere_as_well(page, browser, tmp_path, figure):
    name, content = save(page, figure, "svg")
    assert name == f"a_study-{figure}.svg"
    text = content.decode()
    assert "var(--" not in text  # colours of the page, which the file does not have
    title = page.locator(f"h3:has(+ #figure-{figure})").inner_text()
    assert title.split("&")[0] in text
    (tmp_path / "a.svg").write_bytes(content)
    other = browser.new_page()
    other.goto(f"file://{tmp_path / 'a.svg'}")
    assert other.evaluate("document.documentElement.getBoundingClientRect().width") > 500
    other.close()


def test_the_data_of_a_chart_is_that_of_the_study(page, study):
    name, content = save(page, "created", "csv")
    head, *rows = rows_of(content)
    assert name == "a_study-created.csv"
    column = head.index("best_val_acc")
    expected = study.trials.set_index("trial_id")["best_val_acc"]
    assert {row[0]: float(row[column]) for row in rows} == expected.to_dict()


def test_the_data_of_a_static_chart_is_its_table(page, folder):
    head, *rows = rows_of(save(page, "importance", "csv")[1])
    table = list(csv.reader((folder / "tables" / "importance.csv").read_text().splitlines()))
    assert head == table[0]
    for row, whole in zip(rows, table[1:], strict=True):
        assert row[:2] == whole[:2]
        assert [float(cell) for cell in row[2:] if cell] == pytest.approx(
            [float(cell) for cell in whole[2:] if cell], 1e-5
        )


@pytest.mark.parametrize("figure", ["parallel", "curves"])
def test_the_data_is_that_of_the_selected_trials(page, study, figure):
    brush(page, axis_of(page, "batch_norm"), 0.04, 0.3)
    wait_for_fewer(page)
    head, *rows = rows_of(save(page, figure, "csv")[1])
    assert head[0] == "trial_id"
    assert {row[0] for row in rows} == set(study.trials.loc[study.trials["batch_norm"].astype(bool), "trial_id"])


def test_every_chart_can_be_saved_and_says_so_to_a_screen_reader(page):
    figures = page.locator("figure").count()
    for kind in ("PNG", "SVG", "CSV"):
        labels = page.eval_on_selector_all(
            f"[data-save={kind.lower()}]", "buttons => buttons.map(button => button.getAttribute('aria-label'))"
        )
        assert len(labels) == len(set(labels)) == figures
        assert all(label.startswith(f"Save as {kind}: ") for label in labels)


def test_the_menu_works_with_the_keyboard(page):
    summary = page.locator("#figure-importance details.save summary")
    summary.focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    with page.expect_download() as download:
        page.keyboard.press("Enter")
    assert download.value.suggested_filename == "a_study-importance.png"
    page.keyboard.press("Escape")
    assert page.locator("#figure-importance details.save[open]").count() == 0
    assert page.evaluate("document.activeElement.textContent") == "Save"
