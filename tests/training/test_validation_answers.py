import json
from base64 import b64encode

import numpy as np
import pytest
import pytorch_lightning as pl

from analysis.kept_scores import kept_scores
from analysis.readers.answers import read_answers
from inat.config.objective import OBJECTIVES
from inat.config.trial import TrialConfig
from inat.constants import ANSWERS_JSON, BEST_CKPT, LAST_CKPT, VAL
from inat.data.splits import load_splits
from inat.training.epoch_recorder import recorder_of
from inat.training.evaluation import split_logits
from inat.training.fit import fit
from inat.training.fold_series import FoldSeries, fit_series
from inat.training.validation_answers import ValidationAnswers
from inat.tuning.worker import callbacks
from inat.tuning.worker.callbacks import TrialCheckpoints

pytestmark = pytest.mark.usefixtures("one_thread")


def keeping(directory, threshold=None) -> list[pl.Callback]:
    answers = ValidationAnswers()
    return [answers, TrialCheckpoints(directory, threshold, answers)]


def test_the_answers_are_those_of_each_epoch_and_of_the_kept_weights(cnn_params, tmp_path):
    config = TrialConfig.from_params(cnn_params | {"batch_size": 50})
    fit(config, [*keeping(tmp_path), rows := Histories()])
    found = read_answers(tmp_path / ANSWERS_JSON).trainings[0]
    assert found.right.mean(axis=1) == pytest.approx([row["val_acc"] for row in rows.history])
    outputs = split_logits(tmp_path / BEST_CKPT, VAL)
    written = json.loads((tmp_path / ANSWERS_JSON).read_text())["trainings"][0]
    assert written["predicted"] == outputs.logits.argmax(1).tolist()
    assert found.best.tolist() == (outputs.logits.argmax(1) == outputs.labels).tolist()
    assert len(found.best) == written["images"] == len(load_splits(config.data).val)


@pytest.mark.parametrize("metric", sorted(OBJECTIVES))
def test_the_answers_give_the_value_of_each_metric_that_a_search_optimises(metric, cnn_params, tmp_path):
    objective = OBJECTIVES[metric]
    config = TrialConfig.from_params(cnn_params | {"batch_size": 50, "metric": metric})
    metrics = fit(config, keeping(tmp_path))
    (score,) = kept_scores([read_answers(tmp_path / ANSWERS_JSON).trainings], objective)
    assert score.value == pytest.approx(metrics[objective.best_column], abs=1e-6)


def test_a_resumed_trial_keeps_the_answers_of_an_uninterrupted_one(cnn_params, tmp_path, monkeypatch):
    monkeypatch.setattr(callbacks, "LAST_EVERY_SECONDS", 0.0)
    monkeypatch.setattr(callbacks, "LAST_SHARE", 1e9)
    config = TrialConfig.from_params(cnn_params)
    fit(config, keeping(tmp_path / "whole"))
    with pytest.raises(InterruptedError):
        fit(config, [*keeping(tmp_path / "cut"), InterruptAfter(2)])
    fit(config, keeping(tmp_path / "cut"), resume_from=tmp_path / "cut" / LAST_CKPT)
    whole, cut = ((tmp_path / name / ANSWERS_JSON).read_text() for name in ("whole", "cut"))
    assert cut == whole
    assert json.loads(cut)["trainings"][0]["epochs"] == [1, 2, 3]


def test_each_fold_has_answers_about_its_own_images(cnn_params, tmp_path):
    series = FoldSeries(TrialConfig.from_params(cnn_params | {"max_epochs": 2, "folds": 2}))
    metrics = fit_series(series, keeping(tmp_path))
    answers = read_answers(tmp_path / ANSWERS_JSON)
    assert [training.number for training in answers.trainings] == [1, 2]
    assert len({training.split for training in answers.trainings}) == 2
    assert answers.value == pytest.approx(metrics["best_val_acc"])


def test_trainings_again_from_the_first_epoch_leave_no_answers_behind(cnn_params, tmp_path):
    keep, config = keeping(tmp_path), TrialConfig.from_params(cnn_params)
    fit(config, keep)
    once = (tmp_path / ANSWERS_JSON).read_text()
    fit(config, keep)  # with the same callbacks, as after an error of memory
    assert (tmp_path / ANSWERS_JSON).read_text() == once


@pytest.mark.parametrize(
    ("changes", "threshold"), [({}, 1.1), ({"train_on_val": True}, None)], ids=["not kept", "trained on them"]
)
def test_there_are_no_answers_without_a_checkpoint_or_of_images_trained_on(cnn_params, tmp_path, changes, threshold):
    fit(TrialConfig.from_params(cnn_params | {"max_epochs": 1} | changes), keeping(tmp_path, threshold))
    assert not (tmp_path / ANSWERS_JSON).exists()


class Histories(pl.Callback):
    """Keeps the rows of all epochs."""

    def on_train_end(self, trainer, pl_module):
        self.history = recorder_of(trainer).history


class InterruptAfter(pl.Callback):
    """Ends a training after some epochs by an error."""

    def __init__(self, epochs: int) -> None:
        self.epochs = epochs

    def on_train_epoch_end(self, trainer, pl_module):
        if recorder_of(trainer).epoch == self.epochs:
            raise InterruptedError


def damaged(content: dict, **changes) -> str:
    """The text of the file with changes in its only training."""
    return json.dumps(content | {"trainings": [content["trainings"][0] | changes]})


def test_damaged_answers_count_as_missing(tmp_path):
    path = tmp_path / ANSWERS_JSON
    training = {
        "training": 1, "images": 9, "split": "a", "epochs": [1], "right": ["/4A="], "best_epoch": 1, "predicted": [],
        "labels": [0] * 9, "in_two": "/4A=", "losses": b64encode(np.ones(9, "<f4")).decode(),
    }  # fmt: skip
    good = {"format": 1, "trainings": [training]}
    path.write_text(json.dumps(good))
    read = read_answers(path).trainings[0]
    assert np.array_equal(read.best, np.ones(9, bool))
    assert (read.labels.sum(), read.predicted, read.in_two.sum(), read.losses.sum()) == (0, None, 9, 9)
    for text in (
        "", "[]", json.dumps(good | {"format": 2}), json.dumps(good | {"trainings": []}),
        damaged(good, right=["/4A"]), damaged(good, right=["/w=="]), damaged(good, right=[]), damaged(good, images=-9),
        damaged(good, images=1.5), damaged(good, best_epoch=2), damaged(good, epochs=["1"]),
        damaged(good, labels=[0] * 8), damaged(good, labels=[-1] * 9), damaged(good, predicted=[0.5] * 9),
        damaged(good, in_two="/w=="), damaged(good, losses="/4A="), damaged(good, losses=7),
    ):  # fmt: skip
        path.write_text(text)
        assert read_answers(path) is None, text
    path.unlink()
    assert read_answers(path) is None
