import shutil

import pytest
import torch

from inat.config.trial import TrialConfig
from inat.models.classifier import Classifier
from inat.training.checkpoint import complete_checkpoint, load_checkpoint
from inat.training.evaluation import evaluate
from inat.training.fit import fit
from tests.conftest import Rows


def test_a_checkpoint_reproduces_its_recorded_validation_accuracy(cnn_params, tmp_path):
    keeper = Rows(weights=tmp_path / "best.ckpt")
    fit(TrialConfig.from_params(cnn_params), [keeper])
    best = max(keeper.rows, key=lambda row: row["val_acc"])
    scores = evaluate(tmp_path / "best.ckpt", "val")
    assert scores["val_acc"] == pytest.approx(best["val_acc"], abs=1e-6)
    assert scores["val_loss"] == pytest.approx(best["val_loss"], rel=1e-4)
    assert scores["images"] == 288
    assert scores["constant_accuracy"] == 29 / 288
    test = evaluate(tmp_path / "best.ckpt", "test")
    # Digit 1 is the first of the largest classes in training; other digits are more frequent in the test split.
    assert (test["images"], test["constant_accuracy"]) == (360, 36 / 360)
    assert load_checkpoint(tmp_path / "best.ckpt").classes == tuple("0123456789")


def test_evaluation_needs_no_images_for_augmentation(cnn_params, image_tree, tmp_path):
    data = {"data": str(image_tree()), "image_size": 16, "use_augmentation": True, "cache_dir": str(tmp_path / "cache")}
    keeper = Rows(weights=tmp_path / "best.ckpt")
    fit(TrialConfig.from_params(cnn_params | data | {"max_epochs": 1, "batch_size": 4}), [keeper])
    (larger,) = (tmp_path / "cache").glob("*-32px")
    shutil.rmtree(larger)
    assert evaluate(tmp_path / "best.ckpt", "test")["images"] == 6
    assert not larger.exists()


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_a_checkpoint_trained_on_features_has_its_recorded_scores_on_images(backbone_params, tmp_path, precision):
    keeper = Rows(weights=tmp_path / "best.ckpt")
    params = backbone_params | {"precision": precision, "use_augmentation": True, "views": 2}
    fit(TrialConfig.from_params(params), [keeper])
    best = max(keeper.rows, key=lambda row: row["val_acc"])
    complete_checkpoint(tmp_path / "best.ckpt", tmp_path / "whole.ckpt")
    for path in (tmp_path / "best.ckpt", tmp_path / "whole.ckpt"):
        scores = evaluate(path, "val")
        assert scores["val_acc"] == best["val_acc"]
        assert scores["val_loss"] == pytest.approx(best["val_loss"], rel=1e-4 if precision == "32-true" else 0.02)
        assert evaluate(path, "test")["images"] == 6


def test_a_device_with_less_memory_than_in_training_gives_the_same_scores(cnn_params, tmp_path, monkeypatch):
    keeper = Rows(weights=tmp_path / "best.ckpt")
    fit(TrialConfig.from_params(cnn_params | {"max_epochs": 1, "batch_size": 64}), [keeper])
    scores, real, sizes = evaluate(tmp_path / "best.ckpt", "test"), Classifier.forward, []

    def forward(self, images):
        sizes.append(len(images))
        if len(images) > 20:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return real(self, images)

    monkeypatch.setattr(Classifier, "forward", forward)
    assert evaluate(tmp_path / "best.ckpt", "test") == pytest.approx(scores, rel=1e-5)
    assert sizes[:5] == [64, 32, 16, 16, 32]
