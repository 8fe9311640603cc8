"""On a light and on a dark page, what is good or frequent stands out from the background, and what is not does not."""

import numpy as np
import pandas as pd
import pytest

from analysis.figures.effects import plot_interaction
from analysis.figures.final import plot_confusion
from analysis.figures.parallel import interactive_parallel, parallel_lines, plot_parallel
from analysis.figures.style import BLUES, DARK_SCALE, INK, MUTED, PAPER, SCALE, colour_map, svg_text
from tests.analysis.studies import study_of

PAGES = {"light": 1.0, "dark": 0.09}  # lightness of the background


def lightness(colour) -> float:
    """The lightness of a colour as the eye sees it, from 0 to 1."""
    return float(np.dot(np.asarray(colour)[:3], [0.2126, 0.7152, 0.0722]))


@pytest.mark.parametrize(("page", "scale"), [("light", SCALE), ("dark", DARK_SCALE)])
def test_the_best_trials_stand_out_most_and_the_worst_least(page, scale):
    colours = colour_map(scale)
    contrast = [abs(lightness(colours(place)) - PAGES[page]) for place in (0.0, 0.5, 1.0)]
    assert contrast == sorted(contrast)
    assert contrast[-1] > 2 * contrast[0]


@pytest.mark.parametrize("page", PAGES)
def test_cells_with_low_values_are_near_the_colour_of_the_page(page):
    def shown(share: float) -> float:
        *_, alpha = colour = colour_map(BLUES)(share)
        return alpha * lightness(colour) + (1 - alpha) * PAGES[page]

    contrast = [abs(shown(share) - PAGES[page]) for share in (0.0, 0.5, 1.0)]
    assert contrast == sorted(contrast)
    assert contrast[0] < 0.1


def test_the_dark_colours_of_parallel_coordinates_are_reversed_where_low_results_are_good():
    study = study_of([{"a": 1}, {"a": 2}], [[0.9], [0.2]])
    lines, ticks = parallel_lines(study)
    up = interactive_parallel(lines, ticks).layout.meta["dark_scale"]
    down = interactive_parallel(lines.iloc[::-1], ticks).layout.meta["dark_scale"]
    assert up == [list(stop) for stop in DARK_SCALE]
    assert [colour for _, colour in down] == [colour for _, colour in reversed(DARK_SCALE)]


def test_empty_cells_of_a_confusion_matrix_are_not_filled():
    ax = plot_confusion(pd.DataFrame([[5, 0], [1, 2]], index=["cat", "dog"], columns=["cat", "dog"]))
    assert ax.images[0].get_array().mask.tolist() == [[False, True], [False, False]]
    assert {text.get_text(): text.get_color() for text in ax.texts}["0"] == MUTED


def test_text_and_its_background_have_colours_that_a_page_replaces():
    study = study_of([{"a": i % 3} for i in range(6)], [[0.1 * i] for i in range(6)])
    table = pd.DataFrame({"a": ["1", "1", "2", "2"], "b": ["1", "2", "1", "2"], "mean": [0.1, 0.2, 0.3, 0.9],
                          "trials": [1, 1, 1, 1]})  # fmt: skip
    assert {text.get_color() for text in plot_interaction(table).texts} == {INK, "white"}
    svg = svg_text(plot_parallel(*parallel_lines(study)).figure, "a")
    assert "var(--paper)" in svg
    assert PAPER not in svg
