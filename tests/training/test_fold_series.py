import pytest

from inat.config.trial import TrialConfig
from inat.training.fit import fit
from inat.training.fold_series import FoldSeries, fit_series
from inat.training.resume import checkpoint_row
from tests.conftest import Rows

pytestmark = pytest.mark.usefixtures("one_thread")


def series_of(cnn_params, repeats: int = 1, **changes) -> FoldSeries:
    return FoldSeries(TrialConfig.from_params(cnn_params | {"max_epochs": 2} | changes), repeats)


def test_folds_and_repeats_have_seeds_of_their_own_and_each_fold_comes_once_per_repeat(cnn_params):
    series = series_of(cnn_params, repeats=2, folds=3, seed=7)
    configs = [series.config_of(number) for number in range(1, series.count + 1)]
    assert [(c.data.fold, c.data.repeat, c.seed) for c in configs] == [
        (0, 0, 7), (1, 0, 8), (2, 0, 9), (0, 1, 10), (1, 1, 11), (2, 1, 12),
    ]  # fmt: skip
    alone = series_of(cnn_params, repeats=2, seed=7)
    assert [(c.data.folds, c.seed) for c in map(alone.config_of, (1, 2))] == [(0, 7), (0, 8)]
    assert alone.config_of(1) == alone.config


def test_a_single_training_is_that_of_fit(cnn_params):
    series, one, other = series_of(cnn_params), Rows(), Rows()
    fit_series(series, [one])
    fit(series.config, [other])
    assert one.rows == other.rows
    assert "fold" not in one.rows[-1]


def test_a_trial_trains_its_folds_one_after_the_other_as_if_alone(cnn_params):
    series, rows = series_of(cnn_params, folds=2), Rows()
    metrics = fit_series(series, [rows])
    alone = [fit(series.config_of(number)) for number in (1, 2)]
    assert [(row["epoch"], row["fold"], row["folds_done"]) for row in rows.rows] == [
        (1, 1, 0), (2, 1, 1), (3, 2, 1), (4, 2, 2),
    ]  # fmt: skip
    assert [rows.rows[i]["fold_best"] for i in (1, 3)] == [each["best_val_acc"] for each in alone]
    assert metrics["best_val_acc"] == pytest.approx(sum(each["best_val_acc"] for each in alone) / 2)
    assert metrics["epochs"] == 4
    assert [row.get("finished") for row in rows.rows] == [None, None, None, "max_epochs"]


def test_folds_follow_the_metric(cnn_params, tmp_path):
    weights = tmp_path / "best.ckpt"
    series, rows = series_of(cnn_params, folds=2, metric="val_loss", learning_rate=0.1), Rows(weights=weights)
    metrics = fit_series(series, [rows])
    lowest = [min(row["val_loss"] for row in rows.rows if row["fold"] == number) for number in (1, 2)]
    assert [rows.rows[i]["fold_best"] for i in (1, 3)] == lowest
    assert metrics["best_val_loss"] == pytest.approx(sum(lowest) / 2)
    assert "best_val_acc" not in metrics
    assert checkpoint_row(weights)["val_loss"] == min(lowest)


def test_patience_ends_a_fold_and_not_the_trial(cnn_params):
    series, rows = series_of(cnn_params, folds=2, max_epochs=30, patience=1, learning_rate=0.02), Rows()
    fit_series(series, [rows])
    epochs = [sum(row["fold"] == number for row in rows.rows) for number in (1, 2)]
    assert max(epochs) < 30
    assert [row.get("finished") for row in rows.rows if "finished" in row] == ["patience"]


def test_a_fold_that_diverges_ends_the_trial(cnn_params):
    series, rows = series_of(cnn_params, folds=3, learning_rate=1e30), Rows()
    metrics = fit_series(series, [rows])
    assert metrics["finished"] == "diverged"
    assert metrics["fold"] == metrics["folds_done"] == 1


def test_the_best_weights_of_all_folds_are_the_ones_to_keep(cnn_params, tmp_path):
    rows, weights = Rows(weights=tmp_path / "best.ckpt"), tmp_path / "best.ckpt"
    fit_series(series_of(cnn_params, folds=3), [rows])
    best = max(rows.rows, key=lambda row: row["val_acc"])
    assert checkpoint_row(weights)["epoch"] == best["epoch"]


def test_the_checkpoint_of_another_number_of_folds_is_not_used(cnn_params, tmp_path):
    last = tmp_path / "last.ckpt"
    with pytest.raises(SystemExit):
        fit_series(series_of(cnn_params, folds=2), [Rows(stop_after=1, save_to=last)])
    rows = Rows()
    metrics = fit_series(series_of(cnn_params, folds=3), [rows], resume_from=last)
    assert [row["epoch"] for row in rows.rows] == [1, 2, 3, 4, 5, 6]
    assert rows.rows[0]["note"] == "last.ckpt was written by another configuration: started again from the first epoch"
    assert metrics["folds_done"] == 3
