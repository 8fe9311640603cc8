"""What we rely on in Lightning beyond its documented interface.

Each test names one symbol or one behaviour, says what relies on it, and fails with what has moved. Run these tests
first after an update of Lightning.
"""

import inspect
import logging
import os
import warnings

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.core.optimizer import LightningOptimizer
from pytorch_lightning.plugins.io import TorchCheckpointIO
from pytorch_lightning.strategies import Strategy
from torch import nn
from torch.optim.lr_scheduler import StepLR
from torch.utils.data import DataLoader, Dataset, Sampler

from inat.config.trial import TrialConfig
from inat.training.checkpoint import DirectCheckpointIO
from inat.training.fit import LOGGERS, fit

QUIET = {
    "accelerator": "cpu", "logger": False, "enable_checkpointing": False, "enable_progress_bar": False,
    "enable_model_summary": False, "num_sanity_val_steps": 0,
}  # fmt: skip


def parameters_of(function: object) -> list[str]:
    return list(inspect.signature(function).parameters)


class Learner(pl.LightningModule):
    """Two weights, a schedule that halves the learning rate after each epoch, and a record of what Lightning calls."""

    def __init__(self, manual: bool = False):
        super().__init__()
        self.automatic_optimization = not manual
        self.layer, self.events = nn.Linear(2, 1), []

    def training_step(self, batch, batch_idx):
        self.events.append(("step", self.trainer.is_last_batch))
        loss = self.layer(batch).square().mean()
        if not self.automatic_optimization:
            self.optimizers().zero_grad()
            self.manual_backward(loss)
            self.optimizers().step()
        return loss

    def on_train_batch_end(self, outputs, batch, batch_idx):
        self.events.append(("outputs", type(outputs["loss"]), outputs["loss"].requires_grad))

    def on_validation_start(self):
        self.events.append(("validation", self.trainer.optimizers[0].param_groups[0]["lr"]))

    def validation_step(self, batch, batch_idx):
        pass

    def on_train_epoch_end(self):
        self.events.append(("epoch end",))

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), lr=1.0)
        steps = StepLR(optimizer, 1, 0.5)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": steps, "interval": "epoch"}}


def events_of(learner: Learner) -> list[tuple]:
    data = DataLoader(torch.ones(4, 2), 2)
    pl.Trainer(max_epochs=1, **QUIET).fit(learner, data, data)
    return learner.events


def test_an_epoch_schedule_steps_after_the_last_batch_and_before_validation():
    # Classifier._step_in_parts makes this step itself, with Trainer.is_last_batch, as Lightning does it automatically.
    # EpochRecorder and the checkpoints of a trial rely on validation before on_train_epoch_end.
    kinds = [event for event in events_of(Learner()) if event[0] != "outputs"]
    assert kinds == [("step", False), ("step", True), ("validation", 0.5), ("epoch end",)], (
        "Lightning's order has changed"
    )


@pytest.mark.parametrize("manual", [False, True])
def test_the_loss_of_a_step_reaches_callbacks_without_its_graph(manual):
    # EpochRecorder.on_train_batch_end reads outputs["loss"] in both kinds of optimization.
    outputs = [event[1:] for event in events_of(Learner(manual)) if event[0] == "outputs"]
    assert outputs == [(torch.Tensor, False)] * 2, "on_train_batch_end gets other outputs"


def test_optimizers_are_wrapped_and_manual_backward_takes_a_loss():
    # Classifier._step_in_parts asserts the types, and scales losses for 16-mixed with manual_backward.
    class Wrapped(Learner):
        def training_step(self, batch, batch_idx):
            optimizer, schedule = self.optimizers(), self.lr_schedulers()
            self.wrapped = isinstance(optimizer, LightningOptimizer), isinstance(schedule, StepLR)
            return super().training_step(batch, batch_idx)

    learner = Wrapped(manual=True)
    events_of(learner)
    assert learner.wrapped == (True, True), "optimizers() or lr_schedulers() returns other types"
    assert parameters_of(pl.LightningModule.manual_backward)[:2] == ["self", "loss"], "manual_backward has changed"


def test_a_strategy_has_its_device():
    # ArrayDataModule places its arrays on trainer.strategy.root_device before the first batch.
    assert isinstance(inspect.getattr_static(Strategy, "root_device"), property), "Strategy.root_device has moved"


def test_lightning_sets_the_epoch_of_a_sampler():
    # EpochShuffle and ViewShuffle shuffle by set_epoch.
    class Order(Sampler):
        epochs: list[int] = []

        def set_epoch(self, epoch):
            self.epochs.append(epoch)

        def __iter__(self):
            return iter(range(2))

        def __len__(self):
            return 2

    data = DataLoader(torch.ones(2, 2), 2, sampler=Order())
    pl.Trainer(max_epochs=2, **QUIET).fit(Learner(), data, DataLoader(torch.ones(2, 2)))
    assert Order.epochs == [0, 1], "Lightning calls set_epoch at other times"


def test_a_data_loader_asks_a_data_set_for_whole_batches():
    # ArrayDataset.__getitems__ gathers a batch at once; without the call, each image would be gathered alone.
    class Whole(Dataset):
        def __len__(self):
            return 4

        def __getitems__(self, indices):
            return torch.tensor(indices)

    batches = [batch.tolist() for batch in DataLoader(Whole(), 2, collate_fn=lambda batch: batch)]
    assert batches == [[0, 1], [2, 3]], "DataLoader no longer calls __getitems__"


def test_a_checkpoint_plugin_saves_with_these_arguments():
    # DirectCheckpointIO overrides save_checkpoint.
    names = ["self", "checkpoint", "path", "storage_options"]
    assert parameters_of(TorchCheckpointIO.save_checkpoint) == names, "CheckpointIO.save_checkpoint has changed"
    assert parameters_of(DirectCheckpointIO.save_checkpoint) == names


def test_the_loggers_that_are_silenced_exist():
    # fit silences them by name.
    missing = [name for name in LOGGERS if name not in logging.root.manager.loggerDict]
    assert missing == [], f"Lightning logs under other names than {missing}"


@pytest.mark.parametrize("views", [4, 0], ids=["features", "whole network"])
def test_a_training_warns_of_nothing(backbone_params, views, tmp_path, monkeypatch):
    # fit silences Lightning's warnings by their English texts (inat.training.fit.WARNINGS).
    (tmp_path / "srun").touch(mode=0o755)  # Lightning warns where Slurm's command is installed
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit(TrialConfig.from_params(backbone_params | {"max_epochs": 1, "views": views}))
    assert [str(warning.message) for warning in caught] == [], "fit.WARNINGS no longer matches Lightning's texts"
