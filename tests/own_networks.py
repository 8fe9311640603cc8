"""Files with networks of a user, for the tests of several packages."""

from pathlib import Path

from inat.config.own_model import ModelFile, read_model_file
from inat.models.own_code import allow_model_file

PLAIN = """
from ray import tune
from torch import nn


def build(num_classes, image_size, width=4, dropout=0.1):
    return nn.Sequential(
        nn.Conv2d(3, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(), nn.AdaptiveAvgPool2d(4),
        nn.Flatten(), nn.Dropout(dropout), nn.Linear(16 * width, num_classes),
    )


def space():
    return {"width": tune.choice([4, 8]), "learning_rate": tune.loguniform(1e-3, 1e-2)}
"""
STAGED = """
from torch import nn


class Net(nn.Module):
    def __init__(self, num_classes, width):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU())
        self.block = nn.Sequential(nn.Conv2d(width, width, 3), nn.ReLU())
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten())
        self.out = nn.Linear(16 * width, num_classes)

    def forward(self, images):
        return self.out(self.pool(self.block(self.stem(images))))


def build(num_classes, image_size, width=4):
    return Net(num_classes, width)


def stages(model):
    return {"stem": model.stem, "block": nn.Sequential(model.block, model.pool), "out": model.out}
"""
MODULE = """
import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional


class MyModule(pl.LightningModule):
    def __init__(self, num_classes, image_size, learning_rate=1e-3, width=4):
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Sequential(
            nn.Conv2d(3, width, 3), nn.BatchNorm2d(width), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten(),
            nn.Linear(16 * width, num_classes),
        )
        self.epochs = 0

    def forward(self, images):
        return self.net(images)

    def training_step(self, batch, batch_idx):
        images, labels = batch
        loss = functional.cross_entropy(self(images), labels)
        self.log("val_acc", 7.0)
        return loss

    def on_train_epoch_start(self):
        self.epochs += 1

    def configure_optimizers(self):
        steps = int(self.trainer.estimated_stepping_batches)
        optimizer = torch.optim.SGD(self.parameters(), self.hparams.learning_rate, momentum=0.9)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, self.hparams.learning_rate, total_steps=steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
"""
TRAINING = {
    "data": "digits", "image_size": 8, "learning_rate": 1e-2, "batch_size": 64, "max_epochs": 2, "precision": "32-true",
}  # fmt: skip


def write_net(folder: Path, text: str, name: str = "my_net.py") -> Path:
    """Write a file with a network."""
    path = folder / name
    path.write_text(text)
    return path


def allowed(path: Path, function: str = "build") -> ModelFile:
    """The file, which this process may run from now on."""
    file = read_model_file(f"{path}:{function}")
    allow_model_file(file)
    return file
