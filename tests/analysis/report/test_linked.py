"""What is selected on the parallel coordinates, by mouse or keyboard, is what the other charts and the table show."""

import pytest

from tests.analysis.report.browsing import brush, selected, wait_for_all_charts

pytestmark = pytest.mark.slow
PLOT = "document.getElementById('plot-{}')"
DRAWN = f"""[...new Set({PLOT.format("curves")}.data.filter(trace => trace.meta).flatMap(trace => {{
    let place = 0;
    return trace.meta.runs.flatMap(([id, count]) => {{
        const values = Array.from(trace.y._inputArray || trace.y).slice(place, place += count);
        return values.some(value => value !== null && !Number.isNaN(value)) ? [id] : [];
    }});
}}))].sort()"""


def axis_of(page, name: str) -> int:
    return page.evaluate(f"{PLOT.format('parallel')}.data[0].dimensions.findIndex(axis => axis.name === '{name}')")


def marked(page, plot: str) -> list[str]:
    """The trials whose points are not pale."""
    return page.evaluate(f"""[...new Set({PLOT.format(plot)}.data.filter(trace => trace.ids).flatMap(trace =>
        trace.selectedpoints ? trace.selectedpoints.map(i => trace.ids[i]) : trace.ids))].sort()""")


def table_of(page) -> list[str]:
    return page.locator("#linked-trials tbody tr td:first-child").all_inner_texts()


def wait_for_fewer(page, count: int = 60) -> None:
    page.wait_for_function(f"Number(document.getElementById('selection').dataset.count) < {count}")
    wait_for_all_charts(page)


def open_form(page, axis: str) -> None:
    page.get_by_text("Select by values").click()
    page.get_by_label("Axis").select_option(axis)


def test_a_brush_filters_the_charts_and_the_table(page, study):
    wanted = study.trials[study.trials["batch_norm"].astype(bool)]
    assert len(marked(page, "created")) == 60
    brush(page, axis_of(page, "batch_norm"), 0.04, 0.3)
    wait_for_fewer(page)
    ids = sorted(wanted["trial_id"])
    assert selected(page) == len(ids)
    assert marked(page, "created") == ids
    assert set(marked(page, "costs")) <= set(ids)
    assert page.evaluate(DRAWN) == ids
    best = wanted.sort_values("best_val_acc", ascending=False)["best_val_acc"].head(10)
    shown = study.trials.set_index("trial_id").loc[table_of(page), "best_val_acc"]
    assert shown.tolist() == best.tolist()
    assert page.locator("#linked-trials h3").inner_text() == f"Trials, the best 10 of {len(ids)} selected of 60"
    assert page.locator("#pill").inner_text().startswith(f"{len(ids)} of 60 trials")


def test_everything_is_shown_again_after_escape(page):
    before, rows = page.evaluate(DRAWN), table_of(page)
    brush(page, axis_of(page, "batch_norm"), 0.04, 0.3)
    wait_for_fewer(page)
    assert len(page.evaluate(DRAWN)) < len(before)
    page.keyboard.press("Escape")
    page.wait_for_function("document.getElementById('selection').dataset.count === '60'")
    wait_for_all_charts(page)
    assert page.evaluate(DRAWN) == before
    assert len(marked(page, "created")) == 60
    assert table_of(page) == rows
    assert page.locator("#pill").count() == 0


def test_the_keyboard_alone_selects_a_label_and_clears(page, study):
    page.get_by_text("Select by values").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.type("activ")  # a choice is found by its first letters
    page.keyboard.press("Tab")
    page.keyboard.type("relu")
    page.keyboard.press("Tab")
    page.keyboard.type("relu")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    wait_for_fewer(page)
    assert marked(page, "created") == sorted(study.trials.loc[study.trials["activation"].eq("relu"), "trial_id"])
    assert page.locator("#selection .chips").inner_text().startswith("activation relu")
    page.keyboard.press("Escape")
    page.wait_for_function("document.getElementById('selection').dataset.count === '60'")
    wait_for_all_charts(page)


def test_typed_numbers_select_a_range_and_its_button_removes_it(page, study):
    open_form(page, "epochs")
    page.get_by_label("from").fill("9")
    page.get_by_label("to", exact=True).fill("9")
    page.get_by_role("button", name="Select", exact=True).click()
    wait_for_fewer(page)
    assert marked(page, "created") == sorted(study.trials.loc[study.trials["epochs"].eq(9), "trial_id"])
    page.get_by_role("button", name="Remove the range: epochs 9 to 9").click()
    page.wait_for_function("document.getElementById('selection').dataset.count === '60'")
    wait_for_all_charts(page)
    assert page.evaluate("document.activeElement.tagName") == "SUMMARY"  # not lost with the button


def test_an_empty_selection_says_so(page):
    open_form(page, "epochs")
    page.get_by_label("from").fill("5")
    page.get_by_label("to", exact=True).fill("6")
    page.get_by_role("button", name="Select", exact=True).click()
    page.wait_for_function("document.getElementById('selection').dataset.count === '0'")
    wait_for_all_charts(page)
    assert "0 of 60 trials selected" in page.locator("#selection").inner_text()
    assert page.locator("#linked-trials").inner_text() == "Trials, none selected"


def test_more_trials_are_shown_on_request(page):
    page.get_by_role("button", name="Show 50 more").click()
    assert len(table_of(page)) == 60
    assert page.get_by_role("button", name="more").count() == 0


def test_without_scripts_the_table_of_the_best_trials_stays(browser, folder):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"file://{folder / 'report.html'}")
    assert page.get_by_role("heading", name="The 10 best trials").is_visible()
    assert not page.locator("details.save").first.is_visible()
    context.close()


def test_another_budget_shows_the_trials_that_trained_for_it(page, study):
    titles = f"{PLOT.format('slices')}.layout.title.text"
    assert page.evaluate(titles).endswith("within 3 epochs: 60 of 60 trials")
    page.locator("#choices-slices select").select_option("within 9 epochs: 30 of 60 trials")
    page.wait_for_function(f"{titles}.includes('within 9 epochs')")
    assert marked(page, "slices") == sorted(study.trials.loc[study.trials["epochs"].eq(9), "trial_id"])
    brush(page, axis_of(page, "batch_norm"), 0.04, 0.3)
    wait_for_fewer(page)
    both = study.trials["epochs"].eq(9) & study.trials["batch_norm"].astype(bool)
    assert marked(page, "slices") == sorted(study.trials.loc[both, "trial_id"])
    assert "within 9 epochs" in page.evaluate(titles)


def test_another_pair_has_its_own_axes(page):
    page.locator("#choices-interaction select").first.select_option("activation and learning rate")
    layout = f"{PLOT.format('interaction')}.layout"
    page.wait_for_function(f"{layout}.yaxis.title.text === 'activation'")
    assert page.evaluate(f"{layout}.xaxis.title.text") == "learning rate"
    assert page.locator("#plot-interaction .heatmap-label text").count() == 12
