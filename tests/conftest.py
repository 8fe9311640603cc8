"""Small images, parameters and models for the tests of several packages."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from hypothesis import settings
from PIL import Image

from inat.config.trial import TrialConfig
from inat.models import timm_facts
from inat.study.study import Study
from inat.training.checkpoint import portable_checkpoint
from inat.training.epoch_recorder import recorder_of
from inat.training.fit import fit
from tests.models.published import published

# Measured, "auto" could mean another precision in each of two studies that a test compares; its own tests measure it.
os.environ["INAT_MEASURE_PRECISION"] = "0"

# On a busy machine a single example may take long; speed is a matter of benchmarks/.
settings.register_profile("inat", deadline=None)
settings.load_profile("inat")

Params = dict[str, object]


@pytest.fixture(autouse=True, scope="session")
def facts_of_timm(tmp_path_factory):
    """A cache of facts about timm's models that this run of the tests begins with nothing."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(timm_facts, "FOLDER", tmp_path_factory.mktemp("timm"))
        yield


@pytest.fixture(autouse=True)
def float32_products():
    """A training on a GPU, also a pretended one, changes how the whole process multiplies float32 matrices."""
    precision = torch.get_float32_matmul_precision()
    yield
    torch.set_float32_matmul_precision(precision)


@pytest.fixture
def cnn_params() -> Params:
    """Flat parameters of a small training on the digits."""
    return {
        "data": "digits", "image_size": 16, "use_augmentation": False,
        "first_layer_filters": 8, "filter_org": 1, "conv_layers": 2, "activation": "gelu", "dropout": 0.2,
        "batch_norm": True, "num_neurons_dense": 32, "learning_rate": 1e-3, "batch_size": 64, "max_epochs": 3,
    }  # fmt: skip


def write_image(path: Path, seed: int = 0, size: tuple[int, int] = (30, 24)) -> None:
    """Write a small JPEG of smooth colours, which depend on ``seed``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = np.random.default_rng(seed).integers(0, 256, (3, 4, 3), dtype=np.uint8)
    Image.fromarray(coarse).resize(size, Image.Resampling.BILINEAR).save(path)


@pytest.fixture
def image_tree(tmp_path: Path) -> Callable[..., Path]:
    """Makes a class-folder tree with ``train`` and ``val`` images per class."""

    def make(classes: tuple[str, ...] = ("bird", "fish"), train: int = 10, val: int = 3, held_out: str = "val") -> Path:
        root = tmp_path / "photos"
        for c, name in enumerate(classes):
            for split, count in (("train", train), (held_out, val)):
                (root / split / name).mkdir(parents=True, exist_ok=True)
                for i in range(count):
                    write_image(root / split / name / f"{i}.jpg", seed=1000 * c + i + (500 if split != "train" else 0))
        return root

    return make


@pytest.fixture
def backbone_params(image_tree, tmp_path, weights_dir, one_thread) -> Params:
    """Flat parameters of a small training of the head of a backbone."""
    return {
        "data": str(image_tree(train=20)), "image_size": 32, "cache_dir": str(tmp_path / "cache"),
        "backbone": "mobilenet_v2", "strategy": "freeze_all", "weights_dir": str(weights_dir), "precision": "32-true",
        "learning_rate": 1e-2, "batch_size": 8, "max_epochs": 3,
    }  # fmt: skip


@pytest.fixture(scope="module")
def one_thread():
    """A second thread does not speed up small networks, and they would wait for it when tests share the cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def weights_dir(tmp_path_factory) -> Path:
    """A folder with fake published weights of mobilenet_v2; tests must not change it."""
    folder = tmp_path_factory.mktemp("weights")
    torch.save(published("mobilenet_v2"), folder / "mobilenet_v2.pth")
    return folder


class Rows(pl.Callback):
    """Keeps the row of every epoch without its time; may save a checkpoint and stop, like a trial that is killed."""

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


@pytest.fixture
def image_model(cnn_params, image_tree, tmp_path) -> Path:
    """A checkpoint trained for one epoch on images of two classes in ``tmp_path / "photos"``."""
    data = {"data": str(image_tree(val=11)), "cache_dir": str(tmp_path / "cache"), "precision": "32-true"}
    path = tmp_path / "study" / "best.ckpt"
    path.parent.mkdir()
    fit(TrialConfig.from_params(cnn_params | data | {"max_epochs": 1, "batch_size": 8}), [Rows(weights=path)])
    return path


def train_on_digits(path: Path, **changes: Any) -> Path:
    """Train a small network for two epochs on the digits; ``changes`` are other hyperparameters. Returns ``path``."""
    params = {
        "data": "digits", "image_size": 16, "use_augmentation": False, "first_layer_filters": 8, "filter_org": 1,
        "conv_layers": 2, "activation": "relu", "dropout": 0.2, "batch_norm": True, "num_neurons_dense": 32,
        "learning_rate": 1e-3, "batch_size": 64, "max_epochs": 2, "precision": "32-true",
    }  # fmt: skip
    fit(TrialConfig.from_params(params | changes), [Rows(weights=path)])
    return path


@pytest.fixture(scope="session")
def digits_model(tmp_path_factory) -> Path:
    """A checkpoint trained for two epochs on the digits, with some wrong predictions; tests must not change it."""
    return train_on_digits(tmp_path_factory.mktemp("digits") / "best.ckpt")


@pytest.fixture
def see_gpu(monkeypatch) -> None:
    """A GPU as torch and Lightning see it, on which nothing can run."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: os.environ.get("CUDA_VISIBLE_DEVICES") != "")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: int(torch.cuda.is_available()))
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda *_: "NVIDIA Test")


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return Study.create(tmp_path / "study", {"config": {}})


@pytest.fixture
def hangup_by_default():
    """SIGHUP as in a terminal: `nohup` ignores it for all child processes, so also for the tests that it runs."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)
