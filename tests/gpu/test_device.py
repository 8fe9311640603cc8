"""What only a real GPU can show: `make test-gpu` on a machine that has one; elsewhere these tests are skipped."""

import copy

import pytest
import pytorch_lightning as pl
import torch
from torch import nn

from inat.config.trial import TrialConfig
from inat.constants import NOTE
from inat.data import resident
from inat.device import gpu_share
from inat.models import factory
from inat.training.fit import fit
from inat.training.memory import collect_garbage
from tests.conftest import Rows
from tests.gpu.test_steps import ALL, CNN

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]


def test_a_step_in_float32_gives_what_a_cpu_gives():
    config = TrialConfig.from_params(CNN | {"dropout": 0.0, "precision": "32-true"})
    torch.manual_seed(0)
    here = factory.build_classifier(config, 10)
    there = copy.deepcopy(here).to("cuda")
    images, labels = torch.rand(16, 3, 16, 16), torch.arange(16) % 10
    torch.backends.cudnn.conv.fp32_precision, before = "ieee", torch.backends.cudnn.conv.fp32_precision
    try:
        for classifier in (here, there):
            device = next(classifier.parameters()).device
            optimizer = torch.optim.SGD(classifier.net.parameters(), 0.1)
            classifier.training_step((images.to(device), labels.to(device)), 0).backward()
            optimizer.step()
    finally:
        torch.backends.cudnn.conv.fp32_precision = before
    for (name, expected), found in zip(here.net.state_dict().items(), there.net.state_dict().values(), strict=True):
        assert torch.allclose(expected, found.cpu(), atol=1e-4), name


class NoWaits(pl.Callback):
    """From the second batch of an epoch on, torch raises an error where the host waits for the GPU."""

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        torch.cuda.set_sync_debug_mode("error")

    def on_validation_start(self, trainer, pl_module):
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("precision", ["32-true", "16-mixed", "auto"])
@pytest.mark.parametrize("options", [{}, ALL, {"use_augmentation": True, "augmentation_policy": "trivial"}])
def test_no_step_waits(options, precision, tmp_path):
    config = TrialConfig.from_params(CNN | options | {"precision": precision, "cache_dir": str(tmp_path)})
    try:
        assert fit(config, [NoWaits()])["epochs"] == 1
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_float16_trains(tmp_path):
    params = CNN | {"precision": "16-mixed", "max_epochs": 4, "cache_dir": str(tmp_path)}
    metrics = fit(TrialConfig.from_params(params))
    assert metrics["finished"] == "max_epochs"
    assert metrics["best_val_acc"] > 0.5


class Greedy(nn.Module):
    """Takes memory for each image of a training batch: more than there is for a whole batch."""

    def __init__(self, for_an_image: int):
        super().__init__()
        self.for_an_image = for_an_image

    def forward(self, images):
        if self.training:
            torch.empty(len(images) * self.for_an_image, dtype=torch.uint8, device=images.device)
        return images


def test_a_batch_too_large_for_the_gpu_is_cut(monkeypatch, tmp_path):
    _, total = torch.cuda.mem_get_info()
    real = factory.build_scratch
    monkeypatch.setattr(factory, "build_scratch", lambda *args: nn.Sequential(Greedy(total // 40), real(*args)))
    metrics = fit(TrialConfig.from_params(CNN | {"cache_dir": str(tmp_path)}))
    assert metrics["micro_batch"] in (16, 32)  # of 64, where 40 do not fit
    assert metrics["finished"] == "max_epochs"


def test_a_process_holds_as_much_gpu_memory_after_many_trials_as_after_the_first(tmp_path):
    def held() -> int:
        fit(TrialConfig.from_params(CNN | ALL | {"cache_dir": str(tmp_path)}))
        collect_garbage()
        torch.cuda.empty_cache()
        return torch.cuda.memory_allocated()

    first = held()
    assert [held() for _ in range(4)] == [first] * 4


def test_the_checkpoint_of_a_gpu_has_no_tensors_of_it(tmp_path):
    fit(TrialConfig.from_params(CNN | {"cache_dir": str(tmp_path)}), [Rows(weights=tmp_path / "best.ckpt")])
    state = torch.load(tmp_path / "best.ckpt", weights_only=True)["state_dict"]
    assert {tensor.device.type for tensor in state.values()} == {"cpu"}


def float32_rows(tmp_path, **params) -> list[dict]:
    config = TrialConfig.from_params(CNN | {"precision": "32-true", "cache_dir": str(tmp_path)} | params)
    rows = Rows()
    fit(config, [rows])
    return rows.rows


def test_an_epoch_in_float32_gives_what_a_cpu_gives(tmp_path):
    """Up to rounding, which TF32 makes coarser: the same batches in the same order, and the same initial weights."""
    (there,) = float32_rows(tmp_path, dropout=0.0)
    with gpu_share(0):
        (here,) = float32_rows(tmp_path, dropout=0.0)
    assert there["val_loss"] == pytest.approx(here["val_loss"], rel=0.05)
    assert there["val_acc"] == pytest.approx(here["val_acc"], abs=0.05)


@pytest.mark.parametrize("options", [{}, {"use_augmentation": True}])
def test_images_held_on_the_gpu_train_like_those_that_are_sent(options, tmp_path, monkeypatch):
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        (held,) = float32_rows(tmp_path, **options)
        monkeypatch.setattr(resident, "RESIDENT_SHARE", 0.0)
        (sent,) = float32_rows(tmp_path, **options)
    finally:
        torch.use_deterministic_algorithms(False)
    assert "sent to the GPU" in sent[NOTE]
    assert sent["val_loss"] == pytest.approx(held["val_loss"], rel=0.02)
    assert sent["train_loss"] == pytest.approx(held["train_loss"], rel=0.02)


def test_a_resumed_training_goes_on_like_an_uninterrupted_one(tmp_path):
    config = TrialConfig.from_params(
        CNN | {"precision": "32-true", "max_epochs": 4, "use_augmentation": True, "cache_dir": str(tmp_path)}
    )
    whole, killed, resumed = Rows(), Rows(stop_after=2, save_to=tmp_path / "last.ckpt"), Rows()
    fit(config, [whole])
    with pytest.raises(SystemExit):
        fit(config, [killed])
    fit(config, [resumed], resume_from=tmp_path / "last.ckpt")
    assert [row["epoch"] for row in killed.rows + resumed.rows] == [1, 2, 3, 4]
    for found, expected in zip(killed.rows + resumed.rows, whole.rows, strict=True):
        assert found["train_loss"] == pytest.approx(expected["train_loss"], rel=0.02)
