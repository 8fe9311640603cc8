from pathlib import Path

import pytest
import torch

from inat.config.search import SearchConfig
from inat.study.study import Study
from inat.tuning.best import best_model
from inat.tuning.chosen_model import Model
from inat.tuning.describe_result import describe_failure, describe_last, describe_result, describe_value
from inat.tuning.describe_scores import describe_test
from inat.tuning.describe_search import describe_interruption, describe_task
from inat.tuning.space import presets
from tests.helpers import run_epochs
from tests.tuning.ended_studies import study_of


def test_the_result_says_over_what_it_is_a_mean(study):
    trial = study.add_trial({"x": 1})
    row = {"best_val_acc": 0.8, "fold_best": 0.8, "epoch": 1, "fold": 1, "folds_done": 1}
    study.add_epoch(trial.trial_id, row)
    study.info["config"] = {"folds": 5, "repeats": 1}
    assert describe_value(study, trial) == "0.8000 (1 of 5 folds) best validation accuracy"
    study.add_epoch(
        trial.trial_id, row | {"epoch": 2, "best_val_acc": 0.7, "fold_best": 0.6, "fold": 2, "folds_done": 2}
    )
    study.info["config"] = {"folds": 1, "repeats": 2}
    assert describe_value(study, trial) == "0.7000 +- 0.1000 (2 repeats) best validation accuracy"


def test_the_result_names_the_metric_that_the_mean_is_of(tmp_path):
    study = Study.create(tmp_path / "study", {"config": {"metric": "val_loss", "folds": 2}})
    trial = study.add_trial({"x": 1})
    row = {"best_val_loss": 0.8, "fold_best": 0.8, "epoch": 1, "fold": 1, "folds_done": 1}
    study.add_epoch(trial.trial_id, row)
    study.close()
    assert describe_value(study, trial) == "0.8000 (1 of 2 folds) best validation loss"


def test_the_summary_says_what_and_where(tmp_path):
    study = Study.create(tmp_path / "study", {"data": {"classes": ["a", "b"]}})
    for value, state in [(0.5, "completed"), (0.75, "stopped"), (0.9, "failed")]:
        trial = study.add_trial({"activation": "relu", "dropout": 0.2})
        run_epochs(study, trial.trial_id, [value])
        study.end_trial(trial.trial_id, state, "ValueError: x" if state == "failed" else "")
    text = describe_result(study, best_model(study, study.directory), seconds=12.3)
    assert "1 completed, 1 stopped, 1 failed in 12 s" in text
    resumed = describe_result(study, best_model(study, study.directory), seconds=1.0, before=2)
    assert "1 completed, 1 stopped, 1 failed; 1 of them in this run, in 1 s" in resumed
    assert "t0001 relu-d0.2" in text
    assert "0.7500 best validation accuracy" in text
    assert "0.6250 on 8 held-out images" in describe_test({"test_acc": 0.625, "images": 8})
    assert f"{study.directory}: trials.csv, history.csv" in text
    settings = SearchConfig(data="digits", num_samples=9)
    assert "9 trials, 3 of them already ended, up to 27 epochs" in describe_task(
        settings, study, presets.space_of(settings)
    )
    folded = SearchConfig(data="digits", num_samples=9, max_epochs=5, folds=3, repeats=2)
    assert "up to 5 epochs x 3 folds x 2 repeats, space small" in describe_task(folded, study, presets.space_of(folded))
    assert f"--resume {study.directory}" in describe_interruption(settings, study)
    assert "failed with: ValueError: x" in describe_failure(study)


def test_the_summary_is_about_the_weights_in_best_ckpt(tmp_path):
    study = study_of(tmp_path / "study", ["completed"])
    last = Study.create(study.directory / "last", {"config": {}})
    again = last.add_trial({"dropout": 0.3})
    run_epochs(last, again.trial_id, [0.7, 0.8])
    last.end_trial(again.trial_id, "completed")
    last.close()
    study.close()
    text = describe_result(study, Model("t0000", "d0.2", again, tmp_path, last=True), seconds=1.0)
    assert "best    t0000 d0.2, trained again\n        dropout 0.3\n" in text
    assert "val     0.8000 best validation accuracy in 2 epochs" in text


def test_the_summary_of_a_refit_has_the_value_of_the_search(tmp_path):
    study = study_of(tmp_path / "study", ["completed"])
    best, again = study.trials["t0000"], study.trials["t0000"]
    study.close()
    text = describe_result(study, Model("t0000", "d0.2", best, tmp_path, refit=again), seconds=1.0)
    assert "best    t0000 d0.2, trained again on the training and validation photos together\n" in text
    assert "val     0.5000 best validation accuracy in 1 epoch of the search" in text


@pytest.mark.parametrize(
    ("at_the_end", "said"),
    [
        (
            0.9,
            "2 epochs on the training and validation photos together, with dropout 0.3, as the recipe has it for so "
            "many epochs and photos: best.ckpt is of this training, and no photo",
        ),
        (
            0.1,
            "not used, as this training ended with a validation accuracy of 0.1000 on photos that it learnt from, "
            "where t0000 had 0.5000 on photos new to it: best.ckpt is of t0000 of the search",
        ),
    ],
)
def test_a_refit_is_not_compared_by_photos_that_it_has_learnt(tmp_path, at_the_end, said):
    study = study_of(tmp_path / "study", ["completed"])
    weights(study.checkpoint_dir("t0000"))
    last = Study.create(study.directory / "last", {"config": {}, "last_of": "t0000", "refit": True})
    again = last.add_trial({"dropout": 0.3})
    for epoch, value in enumerate((0.99, at_the_end), start=1):
        last.add_epoch(again.trial_id, {"epoch": epoch, "val_acc": value, "best_val_acc": 0.99, "seconds": 1.0})
    last.end_trial(again.trial_id, "completed")
    weights(last.checkpoint_dir(again.trial_id))
    last.close()
    assert said in describe_last(study)
    study.close()


def weights(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    torch.save({}, folder / "best.ckpt")
