import numpy as np
import pandas as pd

from analysis.stats.encode import encode, label_of, level_labels, varying_parameters


def frame(**columns):
    return pd.DataFrame({name: pd.Series(values) for name, values in columns.items()})


def test_numbers_that_span_two_decades_get_a_log_scale():
    trials = frame(lr=[1e-4, 1e-3, 1e-2], layers=[3, 4, 5])
    columns, owners = encode(trials, ["lr", "layers"])
    assert columns["lr"].tolist() == [-4, -3, -2]
    assert columns["layers"].tolist() == [3, 4, 5]
    assert owners == ["lr", "layers"]
    assert encode(trials, ["lr"], logs=False)[0]["lr"].tolist() == [1e-4, 1e-3, 1e-2]


def test_categories_and_booleans_are_one_hot():
    columns, owners = encode(frame(act=["relu", "gelu", "relu"], bn=[True, False, False]), ["act", "bn"])
    assert list(columns) == ["act=gelu", "act=relu", "bn=False", "bn=True"]
    assert columns["act=relu"].tolist() == [1, 0, 1]
    assert owners == ["act", "act", "bn", "bn"]


def test_missing_values_have_a_column_of_their_own():
    columns, _ = encode(frame(k=[1.0, np.nan, 3.0], kind=["a", None, "b"]), ["k", "kind"])
    assert columns["k"].tolist() == [1, 2, 3]
    assert columns["k=(none)"].tolist() == [0, 1, 0]
    assert columns["kind=(none)"].tolist() == [0, 1, 0]


def test_varying_parameters_and_missing_is_a_value():
    trials = frame(a=[1, 1], b=[1.0, np.nan], c=["x", "y"], d=[[1], [1]])
    assert varying_parameters(trials, ["a", "b", "c", "d"]) == ["b", "c"]


def test_levels_are_sorted_and_many_numbers_become_ranges():
    assert list(level_labels(pd.Series([10, 9, 10])).cat.categories) == ["9", "10"]
    ranges = level_labels(pd.Series(np.arange(100.0)))
    assert ranges.value_counts().tolist() == [25] * 4


def test_labels_do_not_depend_on_how_a_number_is_written():
    assert label_of(1.0) == label_of(1) == "1"
    assert label_of(1e-4) == "0.0001"
    assert label_of(True) == "True"
