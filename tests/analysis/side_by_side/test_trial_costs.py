"""Seconds include what comes before the first epoch, where a study records it."""

from pathlib import Path

import pytest

from analysis.compare import comparison
from analysis.side_by_side.trial_costs import describe_unknown, with_preparation
from analysis.study import load_study
from inat.study.study import Study


def made(directory: Path, preparation: list[float | None]):
    """Trials of two epochs of 2 s, each better than the one before."""
    study = Study.create(directory, {"config": {}})
    for number, seconds in enumerate(preparation):
        trial = study.add_trial({"backbone": "resnet50", "strategy": "freeze_all", "learning_rate": 0.1 + number})
        for epoch in (1, 2):
            row = {"epoch": epoch, "val_acc": 0.1 * number, "best_val_acc": 0.1 * number, "seconds": 2.0}
            first = {} if seconds is None or epoch > 1 else {"preparation_seconds": seconds}
            study.add_epoch(trial.trial_id, row | first)
        study.end_trial(trial.trial_id, "completed")
    study.close()
    return load_study(directory)


def test_the_best_trial_costs_its_training_and_the_features_that_another_trial_computed(tmp_path):
    study = made(tmp_path / "s", [30.0, 0.5, 0.25])
    row = comparison({"s": study}).iloc[0]
    assert row["seconds"] == 4.0 + 30.0
    assert row["total_seconds"] == 12.0 + 30.75
    assert row["preparation_seconds"] == 30.75
    assert describe_unknown({"s": study}) == ""


def test_a_study_that_does_not_record_it_says_so(tmp_path):
    study = made(tmp_path / "s", [None, None])
    row = comparison({"s": study}).iloc[0]
    assert (row["seconds"], row["total_seconds"]) == (4.0, 8.0)
    assert row["preparation_seconds"] != row["preparation_seconds"]  # unknown, not 0
    assert describe_unknown({"s": study}).startswith("The seconds of s leave out the time before the first epoch")


def test_the_price_is_that_of_the_seconds(tmp_path):
    row = comparison({"s": made(tmp_path / "s", [32.0, 0.0])}, price_per_hour=9.0).iloc[0]
    assert row["cost"] == pytest.approx(36 / 3600 * 9)
    assert row["total_cost"] == pytest.approx(40 / 3600 * 9)


def test_a_trial_without_a_record_is_unknown(tmp_path):
    assert with_preparation(made(tmp_path / "s", [1.0, None]))["preparation_seconds"].isna().tolist() == [False, True]
