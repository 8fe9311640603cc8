import numpy as np
import pandas as pd
import pytest

from analysis.readers.frames import as_parameter, columns_that_vary, flatten


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        ([True, False], "bool", [True, False]),
        ([True, np.nan], "boolean", [True, pd.NA]),
        ([1, 2], "int64", [1, 2]),
        ([1, None], "Int64", [1, pd.NA]),
        ([0.5, np.nan], "float64", [0.5, np.nan]),
        ([1, 0.5], "float64", [1.0, 0.5]),
        (["relu", None], "str", ["relu", "None"]),
        (["relu", np.nan], "str", ["relu", np.nan]),
        (["auto", 3], "str", ["auto", "3"]),
        ([True, "auto"], "str", ["True", "auto"]),
        ([10**30, 1], "float64", [1e30, 1.0]),
    ],
)
def test_types_of_hyperparameters(values, kind, expected):
    found = as_parameter(pd.Series(values, dtype=object))
    assert found.dtype == kind
    pd.testing.assert_series_equal(found, pd.Series(expected, dtype=kind))


def test_flatten():
    nested = {"a": {"b": 1, "c": {"d": [1, 2]}}, "e": None, "f": {}}
    assert flatten(nested) == {"a/b": 1, "a/c/d": "[1, 2]", "e": None}


def test_columns_that_vary():
    trials = pd.DataFrame({"a": [1, 1], "b": [1, 2], "c": ["x", np.nan], "d": [np.nan, np.nan]})
    assert columns_that_vary(trials, list(trials)) == ["b", "c"]
    assert columns_that_vary(trials[:1], list(trials)) == ["a", "b", "c", "d"]
