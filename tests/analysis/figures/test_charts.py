"""Figures of tables that other modules compute: the drawn values are those of the table."""

import numpy as np
import pandas as pd
import pytest

from analysis.claims.check import check_claims
from analysis.claims.grammar import parse
from analysis.comparable import sample_at
from analysis.early_stopping.timeline import best_against_epochs, utilisation
from analysis.figures import audit, effects, importance
from analysis.stats.effects import value_effects
from analysis.stats.forest import forest_importance
from analysis.stats.importance import METHODS, wandb_panel
from analysis.stats.importance import importance as importance_of
from analysis.stats.interaction import pair_table
from tests.analysis.studies import confounded, factorial, known_study, sample_of, study_of


@pytest.fixture(scope="module")
def sample():
    return confounded(120, seed=1)


@pytest.fixture(scope="module")
def forest(sample):
    return forest_importance(sample)


def test_the_bars_of_the_panel_have_the_values_of_the_table(sample, forest):
    table = wandb_panel(sample, forest)
    left, right = importance.plot_wandb_panel(table)
    bars = {label.get_text(): bar.get_width() for label, bar in zip(left.get_yticklabels(), left.patches, strict=True)}
    assert bars == pytest.approx(dict(zip(table["column"], table["importance"], strict=True)))
    widths = [bar.get_width() for bar in right.patches][::-1]
    assert widths == pytest.approx(list(table["pearson"]))


def test_every_method_has_axes_with_the_same_order(sample, forest):
    table = importance_of(sample, forest)
    matrix = importance.importance_matrix(table)
    assert tuple(matrix) == METHODS
    assert all(list(frame.index) == list(dict.fromkeys(table["parameter"])) for frame in matrix.values())
    axes = importance.plot_importance(table)
    dots = np.asarray(axes[1].collections[-1].get_offsets())
    assert dots[:, 0] == pytest.approx(matrix["permutation"]["importance"].to_numpy())


def test_effects_are_coloured_if_the_interval_excludes_zero(sample):
    table = value_effects(sample)
    ax = effects.plot_effects(table)
    coloured = [tuple(colour[:3]) for colour in ax.collections[-1].get_facecolors()]
    apart = (table["adjusted_low"].gt(0) | table["adjusted_high"].lt(0)).to_list()
    assert [colour != coloured[apart.index(False)] for colour in coloured] == apart


def test_labels_of_claims_contain_the_verdict():
    study = known_study(factorial().sample(150, random_state=0))
    table = check_claims(study, [parse("batch_norm=True > batch_norm=False"), parse("conv_layers=3 best")])
    ax = effects.plot_claims(table)
    labels = [label.get_text() for label in ax.get_yticklabels()]
    assert labels[0] == f"batch_norm=True > batch_norm=False: {table['verdict'][0]}"
    assert np.asarray(ax.collections[-1].get_offsets())[:, 0] == pytest.approx(table["effect"].to_numpy())


def test_pairs_that_were_not_tried_are_empty_cells():
    sample = sample_of([0.1, 0.2, 0.4], a=["x", "x", "y"], b=[1, 2, 1])
    means, counts = effects.interaction_matrix(pair_table(sample, "a", "b"))
    assert np.isnan(means.loc["y", "2"])
    assert means.loc["x", "2"] == pytest.approx(0.2)
    assert counts.loc["x", "1"] == 1
    texts = [text.get_text() for text in effects.plot_interaction(pair_table(sample, "a", "b")).texts]
    assert texts.count("not tried") == 1
    assert "0.400\nn 1" in texts


def test_dependence_has_one_axes_per_parameter():
    table = pd.DataFrame({"parameter": ["a", "a", "b"], "value": ["1", "2", "x"], "predicted": [0.1, 0.2, 0.3],
                          "low": [0.0, 0.1, 0.2], "high": [0.2, 0.3, 0.4]})  # fmt: skip
    axes = effects.plot_dependence(table)
    assert [ax.get_title(loc="left") for ax in axes] == ["a", "b"]
    assert list(axes[0].lines[0].get_ydata()) == [0.1, 0.2]


def test_rung_points_are_of_trials_that_were_not_stopped():
    study = study_of(
        [{"a": i} for i in range(3)], [[0.1, 0.2, 0.3], [0.5], [0.2, 0.6, 0.5]], ["completed", "stopped", "completed"],
        grace_period=1, reduction_factor=3, max_epochs=3,
    )  # fmt: skip
    points = audit.rung_points(study)
    assert points[["trial_id", "early", "late"]].to_numpy().tolist() == [["t0000", 0.1, 0.3], ["t0002", 0.2, 0.6]]
    assert audit.plot_rungs(points).get_xlabel() == "best within 1 epoch"


def test_slots_and_best_so_far_have_the_values_of_their_tables():
    study = study_of([{"a": i} for i in range(4)], [[0.1, 0.4], [0.3, 0.2], [0.5], [0.2]])
    busy, spent = utilisation(study), best_against_epochs(study)
    heights = [bar.get_height() for bar in audit.plot_utilisation(busy).patches]
    assert heights == pytest.approx(busy["busy"].to_list())
    steps = audit.plot_best_so_far(spent).lines[0]
    drawn = dict(zip(steps.get_xdata(), steps.get_ydata(), strict=True))
    assert drawn.items() <= dict(zip(spent["epochs_spent"], spent["best_val_acc"], strict=True)).items()
    assert set(steps.get_ydata()) == set(spent["best_val_acc"])  # every step, once
    assert steps.get_xdata()[-1] == len(spent)


def test_a_figure_can_be_drawn_into_given_axes(sample):
    from matplotlib.figure import Figure

    ax = Figure().add_subplot()
    assert effects.plot_effects(value_effects(sample), ax) is ax
    assert len(sample_at(known_study(factorial().head(20)))) == 20


@pytest.mark.parametrize("length", [2, 3, 8, 40, 400])
def test_no_label_on_an_axis_is_tex(length):
    study = study_of([{"a": n} for n in range(length)], [[0.1 + n / 1000, 0.2 + n / 1000] for n in range(length)])
    axes = [audit.plot_best_so_far(best_against_epochs(study)), audit.plot_utilisation(utilisation(study))]
    for ax in axes:
        ax.figure.canvas.draw()
        ticks = [*ax.get_xticklabels(which="both"), *ax.get_yticklabels(which="both")]
        texts = [label.get_text() for label in ticks]
        assert any(texts)
        assert not [text for text in texts if "$" in text or "mathdefault" in text]
