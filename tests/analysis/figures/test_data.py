import numpy as np
import pandas as pd
import pytest

from analysis.figures.data import MAX_CLASSES, Distribution, drawn_classes, plot_class_counts, plot_distributions


def test_bars_of_a_class_add_up_to_its_photos():
    counts = pd.DataFrame({"train": [8, 4], "test": [2, 0]}, index=["cat", "dog"])
    ax = plot_class_counts(counts)
    ends = {round(bar.get_x() + bar.get_width()) for bar in ax.patches if round(bar.get_y() + 0.36) == 0}
    assert max(ends) == 10
    assert [text.get_text() for text in ax.texts] == ["10", "4"]


def test_of_many_classes_the_largest_and_the_smallest_are_drawn():
    counts = pd.DataFrame({"train": range(500, 0, -1)}, index=[f"c{i}" for i in range(500)])
    drawn = drawn_classes(counts)
    assert len(drawn) == MAX_CLASSES
    assert (drawn.index[0], drawn.index[-1]) == ("c0", "c499")


@pytest.mark.parametrize("values", [[], [1.0], [0.0, 0.0], [1.0, 2.0, 5.0]])
def test_a_histogram_counts_every_value(values):
    ax = plot_distributions([Distribution(np.array(values), "x", [(1.0, "here")])])
    assert sum(bar.get_height() for bar in ax.patches) == len(values)
    assert [text.get_text() for text in ax.texts] == ["here"]
