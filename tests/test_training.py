import shutil
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch

from inat import training
from inat.config import TrialConfig
from inat.errors import ConfigError, StudyError
from inat.training import EpochRecorder, evaluate, fit, load_checkpoint, portable_checkpoint, recorder_of


class Rows(pl.Callback):
    """Keeps every epoch's row without its time; may save and stop after one epoch, as a killed trial would."""

    def __init__(self, stop_after: int = 0, save_to: Path | None = None, weights: Path | None = None):
        self.rows, self.stop_after, self.save_to, self.weights = [], stop_after, save_to, weights

    def on_train_epoch_end(self, trainer, pl_module):
        recorder = recorder_of(trainer)
        self.rows.append({k: v for k, v in recorder.row.items() if k != "seconds"})
        if self.weights and recorder.improved:
            torch.save(portable_checkpoint(trainer), self.weights)
        if recorder.epoch == self.stop_after:
            trainer.save_checkpoint(self.save_to, weights_only=False)
            raise SystemExit


def test_learns_the_digits_and_says_how_it_ended(cnn_params):
    metrics = fit(TrialConfig.from_params(cnn_params | {"max_epochs": 4}))
    assert metrics["best_val_acc"] > 0.8
    assert metrics["epochs"] == metrics["epoch"] == 4
    assert metrics["finished"] == "max_epochs"
    assert metrics["seconds"] > 0


def test_same_seed_same_rows_and_another_seed_others(cnn_params):
    def rows(seed: int):
        keeper = Rows()
        fit(TrialConfig.from_params(cnn_params | {"seed": seed, "max_epochs": 2}), [keeper])
        return keeper.rows

    assert rows(1) == rows(1)
    assert rows(1) != rows(2)


@pytest.mark.parametrize("augment", [False, True])
def test_a_resumed_training_repeats_the_uninterrupted_one_bit_by_bit(cnn_params, tmp_path, augment):
    # The learning rate steps at epoch 2, where an off-by-one would show.
    params = cnn_params | {"max_epochs": 4, "lr_step_epochs": 2, "use_augmentation": augment}
    config = TrialConfig.from_params(params)
    whole = Rows()
    fit(config, [whole])
    killed = Rows(stop_after=2, save_to=tmp_path / "last.ckpt")
    with pytest.raises(SystemExit):
        fit(config, [killed])
    resumed = Rows()
    fit(config, [resumed], resume_from=tmp_path / "last.ckpt")
    assert killed.rows + resumed.rows == whole.rows


def test_a_checkpoint_reproduces_its_recorded_validation_accuracy(cnn_params, tmp_path):
    keeper = Rows(weights=tmp_path / "best.ckpt")
    fit(TrialConfig.from_params(cnn_params), [keeper])
    best = max(keeper.rows, key=lambda row: row["val_acc"])
    scores = evaluate(tmp_path / "best.ckpt", "val")
    assert scores["val_acc"] == pytest.approx(best["val_acc"], abs=1e-6)
    assert scores["val_loss"] == pytest.approx(best["val_loss"], rel=1e-4)
    assert scores["images"] == 288
    assert evaluate(tmp_path / "best.ckpt", "test")["images"] == 360
    assert load_checkpoint(tmp_path / "best.ckpt").classes == tuple("0123456789")


@pytest.mark.parametrize("content", [None, b"no checkpoint", b""])
def test_what_is_no_checkpoint_is_refused_with_its_path(tmp_path, content):
    path = tmp_path / "x.ckpt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(StudyError, match=r"x\.ckpt"):
        load_checkpoint(path)


def test_a_checkpoint_cannot_run_code(tmp_path):
    class Trap:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "sprung",))

    torch.save({"trial_params": Trap()}, tmp_path / "x.ckpt")
    with pytest.raises(StudyError, match=r"not a checkpoint of this program"):
        load_checkpoint(tmp_path / "x.ckpt")
    assert not (tmp_path / "sprung").exists()


class FakeTrainer:
    """The three things the recorder looks at."""

    def __init__(self):
        self.callback_metrics, self.current_epoch, self.should_stop = {}, 0, False


def follow(cnn_params, losses_and_accuracies, **changes) -> tuple[EpochRecorder, FakeTrainer]:
    recorder = EpochRecorder(TrialConfig.from_params(cnn_params | {"max_epochs": 20} | changes), ["a"])
    trainer = FakeTrainer()
    for epoch, (loss, accuracy) in enumerate(losses_and_accuracies):
        trainer.current_epoch = epoch
        trainer.callback_metrics = {"train_loss": loss, "train_acc": 0.5, "val_loss": 1.0, "val_acc": accuracy}
        recorder.on_train_epoch_start(trainer, None)
        recorder.on_train_epoch_end(trainer, None)
        if trainer.should_stop:
            break
    return recorder, trainer


def test_patience_counts_from_the_best_epoch(cnn_params):
    recorder, trainer = follow(cnn_params, [(1.0, 0.3), (1.0, 0.5)] + [(1.0, 0.4)] * 10, patience=3)
    assert (recorder.epoch, recorder.best_epoch, recorder.best_val_acc) == (5, 2, 0.5)
    assert recorder.row["finished"] == "patience"
    assert trainer.should_stop


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_diverged_training_ends_at_once_with_a_legal_value(cnn_params, loss):
    recorder, _ = follow(cnn_params, [(1.0, 0.3), (loss, 0.1), (1.0, 0.9)])
    assert (recorder.epoch, recorder.best_val_acc) == (2, 0.3)
    assert recorder.row["finished"] == "diverged"


def test_a_loss_that_is_no_number_ends_the_training_in_the_middle_of_an_epoch(cnn_params, monkeypatch):
    seen = []
    real = training.Classifier.training_step

    def poisoned(self, batch, batch_idx):
        seen.append((self.current_epoch, batch_idx))
        return real(self, batch, batch_idx) * (float("nan") if seen[-1] == (1, 2) else 1.0)

    monkeypatch.setattr(training.Classifier, "training_step", poisoned)
    metrics = fit(TrialConfig.from_params(cnn_params | {"max_epochs": 4}))
    assert seen[-1] == (1, 2)
    assert (metrics["finished"], metrics["epochs"]) == ("diverged", 2)
    assert metrics["best_val_acc"] > 0.1


def test_auto_precision_follows_the_processor(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True}, raising=False)
    assert training.resolve_precision("auto") == "bf16-mixed"
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": False}, raising=False)
    assert training.resolve_precision("auto") == "32-true"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: False)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (7, 5))
    assert training.resolve_precision("auto") == "16-mixed"
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (6, 1))
    assert training.resolve_precision("auto") == "32-true"
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: True)
    assert training.resolve_precision("auto") == "bf16-mixed"
    assert training.resolve_precision("32-true") == "32-true"


def test_compiling_without_a_compiler_is_refused(cnn_params, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(ConfigError, match=r"--compile needs a C\+\+ compiler and none is installed"):
        fit(TrialConfig.from_params(cnn_params | {"compile": True}))


@pytest.mark.slow
@pytest.mark.skipif(not any(shutil.which(name) for name in ("g++", "clang++", "c++")), reason="no C++ compiler")
def test_a_compiled_network_learns_and_its_checkpoint_loads_like_any_other(cnn_params, tmp_path):
    keeper = Rows(weights=tmp_path / "best.ckpt")
    fit(TrialConfig.from_params(cnn_params | {"compile": True, "max_epochs": 2}), [keeper])
    best = max(keeper.rows, key=lambda row: row["val_acc"])
    assert best["val_acc"] > 0.3
    assert evaluate(tmp_path / "best.ckpt", "val")["val_acc"] == pytest.approx(best["val_acc"], abs=0.02)


@pytest.mark.slow
@pytest.mark.skipif(not any(shutil.which(name) for name in ("g++", "clang++", "c++")), reason="no C++ compiler")
def test_every_network_of_a_process_is_compiled(cnn_params, monkeypatch):
    """A search trains hundreds in one process, and torch gives up after a few compilations of the same code."""
    monkeypatch.setattr(torch._dynamo.config, "recompile_limit", 4)
    counters = torch._dynamo.utils.counters
    for filters in (1, 2, 3):
        counters.clear()
        params = {"compile": True, "max_epochs": 1, "first_layer_filters": filters, "conv_layers": 1}
        fit(TrialConfig.from_params(cnn_params | params))
        assert counters["frames"]["ok"] > 0, filters


def test_no_step_waits_for_the_device(cnn_params):
    """Tensors of the meta device have no values, so any read of one by the host raises."""
    config = TrialConfig.from_params(cnn_params)
    classifier = training._classifier(config, 10).to("meta")
    batch = torch.rand(8, 3, 16, 16, device="meta"), torch.zeros(8, dtype=torch.int64, device="meta")
    assert classifier.training_step(batch, 0).is_meta
    classifier.validation_step(batch, 0)


def test_testing_needs_no_images_for_augmentation(cnn_params, photo_tree, tmp_path):
    data = {"data": str(photo_tree()), "image_size": 16, "use_augmentation": True, "cache_dir": str(tmp_path / "cache")}
    keeper = Rows(weights=tmp_path / "best.ckpt")
    fit(TrialConfig.from_params(cnn_params | data | {"max_epochs": 1, "batch_size": 4}), [keeper])
    (larger,) = (tmp_path / "cache").glob("*-32px")
    shutil.rmtree(larger)
    assert evaluate(tmp_path / "best.ckpt", "test")["images"] == 6
    assert not larger.exists()


class Small:
    """Stands in for a device: a network that has no room for more than ``most`` images at a time."""

    def __init__(self, most: int, monkeypatch):
        self.seen = []
        real = training.build_cnn

        def build(*args):
            net = real(*args)
            net.register_forward_pre_hook(lambda module, inputs: self.check(len(inputs[0]), most))
            return net

        monkeypatch.setattr(training, "build_cnn", build)

    def check(self, count: int, most: int) -> None:
        self.seen.append(count)
        if count > most:
            raise torch.OutOfMemoryError(f"no room for {count} images")


def test_out_of_memory_halves_the_micro_batch_and_says_so(cnn_params, monkeypatch):
    params = cnn_params | {"max_epochs": 2, "batch_norm": False, "dropout": 0.0, "precision": "32-true"}
    whole = fit(TrialConfig.from_params(params))
    device = Small(20, monkeypatch)
    halved = fit(TrialConfig.from_params(params))
    assert device.seen[:3] == [64, 32, 16]
    assert max(device.seen[2:]) == 16
    assert halved["micro_batch"] == 16
    assert "micro_batch" not in whole
    assert halved["train_loss"] == pytest.approx(whole["train_loss"], rel=1e-3)


def test_a_network_too_large_for_one_image_fails(cnn_params, monkeypatch):
    device = Small(0, monkeypatch)
    with pytest.raises(torch.OutOfMemoryError, match="no room for 1 images"):
        fit(TrialConfig.from_params(cnn_params))
    assert device.seen == [64, 32, 16, 8, 4, 2, 1]


def test_other_errors_are_not_tried_again(cnn_params, monkeypatch):
    device = Small(0, monkeypatch)
    device.check = lambda count, most: (device.seen.append(count), (_ for _ in ()).throw(RuntimeError("a bug")))
    with pytest.raises(RuntimeError, match="a bug"):
        fit(TrialConfig.from_params(cnn_params))
    assert device.seen == [64]
