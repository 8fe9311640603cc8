from types import SimpleNamespace

import pytest
import torch

from inat.checkpoint import load_checkpoint
from inat.config import TrialConfig
from inat.errors import DiskFullError
from inat.training import fit
from inat.tuning import checkpoints
from inat.tuning.checkpoints import TrialCheckpoints


def test_best_weights_are_those_of_the_best_epoch(cnn_params, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "LAST_EVERY_SECONDS", 1e9)  # also on a machine that is very slow today
    metrics = fit(TrialConfig.from_params(cnn_params), [TrialCheckpoints(tmp_path / "c", None)])
    stored = torch.load(tmp_path / "c" / "best.ckpt", weights_only=True)
    assert stored["row"]["best_val_acc"] == stored["row"]["val_acc"] == metrics["best_val_acc"]
    assert load_checkpoint(tmp_path / "c" / "best.ckpt").config == TrialConfig.from_params(cnn_params)
    assert [p.name for p in (tmp_path / "c").iterdir()] == ["best.ckpt"]


def test_nothing_is_written_below_the_threshold(cnn_params, tmp_path):
    fit(TrialConfig.from_params(cnn_params | {"max_epochs": 1}), [TrialCheckpoints(tmp_path / "c", 1.0)])
    assert list((tmp_path / "c").iterdir()) == []


def test_an_equal_accuracy_is_enough(cnn_params, tmp_path):
    config = TrialConfig.from_params(cnn_params | {"max_epochs": 1})
    reached = fit(config)["best_val_acc"]
    fit(config, [TrialCheckpoints(tmp_path / "c", reached)])
    assert (tmp_path / "c" / "best.ckpt").exists()


def test_the_last_state_is_written_when_due_and_can_be_resumed(cnn_params, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "LAST_EVERY_SECONDS", 0.0)
    monkeypatch.setattr(checkpoints, "LAST_SHARE", 1.0)
    config = TrialConfig.from_params(cnn_params)
    keeper = TrialCheckpoints(tmp_path / "c", None)
    last = tmp_path / "c" / "last.ckpt"
    whole = fit(config, [keeper], resume_from=last)  # not there yet
    assert last.exists()
    resumed = fit(config, resume_from=last)
    assert resumed["best_val_acc"] == whole["best_val_acc"]
    assert resumed["train_loss"] == whole["train_loss"]


def test_a_failing_write_leaves_the_old_checkpoint(tmp_path):
    keeper = TrialCheckpoints(tmp_path, None)
    (tmp_path / "best.ckpt").write_text("old")

    def disk_full(path):
        path.write_text("half")
        raise OSError("No space left on device")

    with pytest.raises(OSError, match="No space left"):
        keeper._write("best.ckpt", disk_full)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"best.ckpt": "old"}


def test_a_full_disk_is_called_by_its_name(tmp_path, monkeypatch):
    keeper = TrialCheckpoints(tmp_path, None)
    monkeypatch.setattr(checkpoints.shutil, "disk_usage", lambda path: SimpleNamespace(free=4096))

    def fail(path):
        path.write_bytes(b"x" * 5000)
        raise RuntimeError("PytorchStreamWriter failed writing file data/0: file write failed")

    with pytest.raises(DiskFullError, match=f"the disk of {tmp_path} is full"):
        keeper._write("best.ckpt", fail)
    assert list(tmp_path.iterdir()) == []
