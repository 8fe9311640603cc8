from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from analysis.stats.encode import MISSING
from analysis.stats.knobs import (
    BETTER,
    NOT_FIXED,
    TOO_FEW,
    UNDECIDED,
    WORSE,
    best_of_each_knob,
    gains_around,
    groups_around,
)
from tests.analysis.studies import confounded, sample_of


def test_a_gain_is_told_from_what_comes_along_with_it():
    """``good`` gains 0.1; ``rider``, which correlates with it, and ``idle`` gain nothing."""
    table = gains_around(confounded(200, seed=3), {"good": False, "rider": False, "idle": "a"}).set_index(
        ["knob", "value"]
    )
    good = table.loc[("good", "True")]
    assert good["low"] < 0.1 < good["high"]
    assert (good["verdict"], good["recipe_value"]) == (BETTER, "False")
    assert set(table.drop(index=("good", "True"))["verdict"]) == {UNDECIDED}
    assert good["trials"] + good["recipe_trials"] == 200


def test_a_loss_gains_where_it_falls():
    sample = confounded(200, seed=3)
    mirrored = sample_of(-sample.trials["accuracy"], **{n: sample.trials[n] for n in sample.parameters})
    recipe = {"good": False, "rider": False, "idle": "a"}
    table, twin = gains_around(sample, recipe), gains_around(replace(mirrored, mode="min"), recipe)
    pd.testing.assert_frame_equal(table, twin)


def test_moving_away_from_the_best_value_is_worse():
    table = gains_around(confounded(200, seed=3), {"good": True})
    assert table[["value", "verdict"]].values.tolist() == [["False", WORSE]]


@pytest.mark.parametrize(
    ("values", "recipe"),
    [(10.0 ** np.linspace(-4, -1, 31), 10**-2.5), (10.0 ** np.linspace(-2, -1, 31), 10**-1.5),
     (np.linspace(0, 1, 31), 0.5), (np.linspace(0.1, 0.3, 31), 0.2)],
)  # fmt: skip
def test_a_number_with_many_values_is_compared_below_and_above_the_recipe(values, recipe):
    groups = groups_around(pd.Series(values), recipe)
    assert groups.recipe.sum() == 11  # the nearest third, in the middle
    assert groups.recipe.tolist() == groups.recipe.tolist()[::-1]
    lower, higher = groups.others.values()
    assert (lower.sum(), higher.sum()) == (10, 10)
    assert lower[:10].all()
    assert higher[-10:].all()


def test_a_recipe_at_the_end_of_the_range_has_one_side():
    numbers = pd.Series([*np.linspace(0, 1, 20), np.nan])
    groups = groups_around(numbers, 0)
    assert len(groups.others) == 2
    assert groups.others[MISSING].tolist() == [False] * 20 + [True]
    assert not groups.recipe[-1]


@pytest.mark.parametrize(
    ("values", "recipe", "label"),
    [([1, 2, None], None, MISSING), (["a", "None"], None, "None"), ([0.1, 0.2], 0.1, "0.1"),
     ([True, False], True, "True"), ([1, 2], 3, "3")],
)  # fmt: skip
def test_the_recipes_value_among_few_values(values, recipe, label):
    groups = groups_around(pd.Series(values), recipe)
    assert groups.recipe_label == label
    assert groups.recipe.sum() == (0 if recipe == 3 else 1)


def test_a_group_of_few_trials_has_no_gain():
    sample = sample_of(np.linspace(0, 1, 40), a=["x"] * 36 + ["y"] * 4)
    (row,) = gains_around(sample, {"a": "x"}).to_dict("records")
    assert (row["verdict"], row["trials"]) == (TOO_FEW, 4)
    assert np.isnan(row["gain"])


def test_too_few_trials_to_hold_the_others_fixed_leave_the_verdict_open():
    sample = sample_of([0.1] * 5 + [0.9] * 4 + [0.8], a=["x"] * 5 + ["y"] * 5, b=list("pq") * 5)
    row = gains_around(sample, {"a": "x", "b": "p"}).iloc[0]
    assert (row["verdict"], row["note"]) == (UNDECIDED, NOT_FIXED)
    assert row["gain"] == pytest.approx(0.78)


def test_each_knob_has_its_best_value_and_unknown_ones_come_last():
    table = pd.DataFrame(
        [("a", "1", np.nan), ("b", "1", -0.2), ("b", "2", -0.1), ("c", "1", 0.3), ("c", "2", 0.1)],
        columns=["knob", "value", "gain"],
    )
    assert best_of_each_knob(table)[["knob", "value"]].values.tolist() == [["c", "1"], ["b", "2"], ["a", "1"]]


def test_a_knob_that_the_recipe_does_not_name_is_left_out():
    assert gains_around(confounded(60, seed=1), {"good": True})["knob"].unique().tolist() == ["good"]
    assert gains_around(confounded(60, seed=1), {}).empty
