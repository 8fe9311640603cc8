import numpy as np
import pytest

from analysis.figures.parallel import (
    LEVELS,
    LINEAR,
    LOGARITHMIC,
    MAX_LINES,
    TICK_STEPS,
    interactive_parallel,
    parallel_lines,
    plot_parallel,
)
from tests.analysis.studies import study_of


@pytest.fixture
def study():
    params = [
        {
            "activation": "relu" if i % 2 else "gelu",
            "lr": 10.0 ** (-1 - i / 3),
            "k": None if i == 3 else i % 3,
            "one": 5,
        }
        for i in range(12)
    ]
    return study_of(params, [[0.1, 0.1 + 0.05 * i] for i in range(12)])


def test_the_axes_are_varying_hyperparameters_epochs_and_result(study):
    lines, _ = parallel_lines(study)
    assert list(lines) == ["activation", "lr", "k", "epochs", "best_val_acc"]


def test_values_are_placed_at_their_label_or_their_logarithm(study):
    lines, ticks = parallel_lines(study)
    kinds = ticks.drop_duplicates("axis").set_index("axis")["kind"]
    assert dict(kinds) == {
        "activation": LEVELS,
        "lr": LOGARITHMIC,
        "k": LEVELS,
        "epochs": LINEAR,
        "best_val_acc": LINEAR,
    }
    assert lines.loc["t0000", "activation"] == 0
    assert lines.loc["t0001", "activation"] == 1
    assert lines.loc["t0003", "lr"] == pytest.approx(-2)
    labels = ticks[ticks["axis"].eq("k")].set_index("position")["label"]
    assert labels[lines.loc["t0003", "k"]] == "(none)"
    assert next(iter(ticks[ticks["axis"].eq("lr")]["label"])) == "2.2e-05"


def test_the_best_lines_are_drawn_last_and_trials_without_a_result_are_left_out():
    study = study_of([{"a": 1}, {"a": 2}, {"a": 3}], [[0.9], [np.nan], [0.2]])
    assert list(parallel_lines(study)[0].index) == ["t0002", "t0000"]


def test_a_large_study_shows_its_best_trials():
    count = MAX_LINES + 5
    study = study_of([{"a": i % 3} for i in range(count)], [[i / count] for i in range(count)])
    lines, _ = parallel_lines(study)
    assert len(lines) == MAX_LINES
    assert lines["best_val_acc"].min() == pytest.approx(5 / count)


def test_jittered_lines_stay_within_the_selection_of_their_label(study):
    figure = interactive_parallel(*parallel_lines(study))
    lines, _ = parallel_lines(study)
    dimension = figure.data[0].dimensions[0]
    moved, exact = np.array(dimension.values), lines["activation"].to_numpy()
    # Plotly's selection of a label covers a quarter of the way to the next label, and ends at the outermost labels.
    assert (np.abs(moved - exact) <= 0.25).all()
    assert moved.min() >= 0
    assert moved.max() <= 1
    assert len(set(moved)) == len(moved)


def test_a_selection_of_numbers_can_start_and_end_anywhere(study):
    dimensions = {d.label: d for d in interactive_parallel(*parallel_lines(study)).data[0].dimensions}
    assert dimensions["best val acc"].tickvals is None  # a selection would snap to given ticks
    ticks = np.array(dimensions["lr"].tickvals)
    texts = list(dimensions["lr"].ticktext)
    assert len(ticks) == 4 * TICK_STEPS + 1
    assert texts[::TICK_STEPS] == [text for text in texts if text]
    assert ticks[0] == pytest.approx(min(dimensions["lr"].values))


def test_the_figure_has_one_line_per_trial_and_one_name_per_axis(study):
    lines, ticks = parallel_lines(study)
    ax = plot_parallel(lines, ticks)
    (bundle,) = ax.collections
    assert len(bundle.get_segments()) == 12
    assert np.asarray(bundle.get_array()).tolist() == lines["best_val_acc"].tolist()
    assert {"activation", "lr", "best val acc"} <= {text.get_text() for text in ax.texts}


def test_a_study_of_one_trial_can_be_drawn():
    lines, ticks = parallel_lines(study_of([{"a": 1}], [[0.5]]))
    assert len(plot_parallel(lines, ticks).collections[0].get_segments()) == 1
    low, high = interactive_parallel(lines, ticks).data[0].dimensions[-1].range
    assert low < 0.5 < high


def test_few_values_of_a_continuous_hyperparameter_are_placed_at_their_value():
    rates = [0.021, 0.0216, 0.0056, 0.0575]
    lines, ticks = parallel_lines(study_of([{"rate": rate} for rate in rates], [[0.1], [0.2], [0.3], [0.4]]))
    assert set(ticks.loc[ticks["axis"].eq("rate"), "kind"]) == {LINEAR}
    assert lines["rate"].tolist() == rates


def test_numbers_of_a_range_are_no_labels_if_some_trials_share_one():
    rates = [0.025, 0.0991758, 0.025, 0.0206032, 0.025]
    study = study_of([{"rate": rate} for rate in rates], [[0.1 * i] for i in range(1, 6)])
    _, ticks = parallel_lines(study)
    labels = ticks.loc[ticks["axis"].eq("rate"), "label"].tolist()
    assert all(len(label) <= 6 for label in labels), labels
    assert set(ticks.loc[ticks["axis"].eq("rate"), "kind"]) == {LINEAR}
