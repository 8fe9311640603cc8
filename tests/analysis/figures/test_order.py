"""Values on the axes of every figure and in every table are in numeric order, booleans and text after them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.claims.check import ClaimError, check_claims
from analysis.claims.grammar import parse
from analysis.comparable import sample_at
from analysis.figures import effects, parallel
from analysis.figures.effects import interaction_matrix
from analysis.stats.effects import value_effects
from analysis.stats.encode import encode, level_labels, order_labels
from analysis.stats.interaction import pair_table
from analysis.stats.partial_dependence import partial_dependence
from tests.analysis.studies import study_of

WIDTHS = {
    "integers": ([128, 32, 64], ["32", "64", "128"]),
    "texts of integers": (["128", "32", "64"], ["32", "64", "128"]),
    "floats": ([1e-4, 0.001, 10.0], ["0.0001", "0.001", "10"]),
    "texts of floats": (["1e-4", "0.001", "10.0"], ["1e-4", "0.001", "10.0"]),
    "booleans": ([True, False], ["False", "True"]),
    "text with None last": (["None", "relu", "gelu"], ["gelu", "relu", "None"]),
    "mixed": (["auto", "128", "32", "None"], ["32", "128", "auto", "None"]),
    "negative": ([2, -1, -10], ["-10", "-1", "2"]),
    "missing": ([128, None, 32], ["32", "128", "(none)"]),
}


@pytest.fixture(scope="module", params=WIDTHS)
def case(request):
    """A sample in which each value of ``width`` occurs with each of ``other``, in the order in which they are given."""
    values, expected = WIDTHS[request.param]
    rng = np.random.default_rng(0)
    params = [{"width": values[i % len(values)], "other": [100, 9][i // len(values) % 2]} for i in range(24)]
    return study_of(params, [[float(x)] for x in rng.random(24)]), expected


def ticks(axis) -> list[str]:
    return [label.get_text() for label in axis]


def test_every_figure_and_table_has_the_order(case):
    study, expected = case
    sample = sample_at(study)
    first, second = pair_table(sample, "width", "other"), pair_table(sample, "other", "width")
    rows, columns = (effects.plot_interaction(table) for table in (first, second))
    assert ticks(rows.get_yticklabels()) == ticks(columns.get_xticklabels()) == expected
    assert ticks(rows.get_xticklabels()) == ticks(columns.get_yticklabels()) == ["9", "100"]
    assert list(interaction_matrix(first)[1].index) == expected
    assert list(dict.fromkeys(first["width"])) == expected
    values = value_effects(sample)
    assert values.loc[values["parameter"].eq("width"), "value"].tolist() == expected
    bars = [text.split(" = ")[1].split("  (")[0] for text in ticks(effects.plot_effects(values).get_yticklabels())]
    assert [text for text in bars if text in expected] == expected or not values["adjusted"].notna().all()
    lines, table = parallel.parallel_lines(study)
    assert table.loc[table["axis"].eq("width"), "label"].tolist() == expected
    (axis,) = [d for d in parallel.interactive_parallel(lines, table).data[0].dimensions if d.label == "width"]
    assert list(axis.ticktext) == expected
    dependence = partial_dependence(sample, ["width"])
    shown = [value for value in expected if value != "(none)" or not dependence["value"].isin(["(none)"]).any()]
    assert [value for value in dependence["value"] if value != "(none)"] == [v for v in shown if v != "(none)"]
    names = [name.partition("=")[2] for name in encode(study.trials, ["width"])[0] if "=" in name]
    assert names == [value for value in expected if value in names]


def test_a_message_lists_the_values_in_numeric_order():
    study = study_of([{"width": [128, 32, 64][i % 3]} for i in range(12)], [[0.1 * (i % 4)] for i in range(12)])
    with pytest.raises(ClaimError, match="choose from 32, 64, 128"):
        check_claims(study, [parse("width=7 best")])


def test_ranges_are_in_the_order_of_their_lower_ends():
    labels = level_labels(study_of([{"x": float(i)} for i in range(40)], [[0.5]] * 40).trials["x"])
    categories = list(labels.cat.categories)
    assert order_labels(reversed(categories)) == categories


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**6), 10**6), max_size=20))
def test_texts_of_numbers_are_ordered_like_the_numbers(numbers):
    labels = [repr(number) for number in numbers]
    ordered = order_labels(labels)
    assert [float(label) for label in ordered] == sorted(float(label) for label in ordered)
    assert set(ordered) == set(labels)
