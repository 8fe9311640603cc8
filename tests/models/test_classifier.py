import pytest
import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from inat.config import OptimConfig
from inat.models.classifier import Classifier


class Fixed(nn.Module):
    """Logits given as data; one weight so that there is something to optimise."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, images):
        return images * self.scale


def test_metrics_count_images_not_batches():
    # Batches of 4 and 1: three of five right is 0.6; the mean of the batch means would be 0.375.
    logits = torch.eye(2)[[0, 0, 0, 1, 0]] * 9
    labels = torch.tensor([0, 0, 0, 0, 1])
    loader = DataLoader(TensorDataset(logits, labels), 4)
    classifier = Classifier(Fixed(), OptimConfig(learning_rate=1e-9, batch_size=4), num_classes=2)
    trainer = pl.Trainer(max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False,
                         enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0)  # fmt: skip
    trainer.fit(classifier, loader, loader)
    expected = nn.functional.cross_entropy(logits, labels).item()
    for split in ("train", "val"):
        assert trainer.callback_metrics[f"{split}_acc"].item() == pytest.approx(0.6)
        assert trainer.callback_metrics[f"{split}_loss"].item() == pytest.approx(expected, rel=1e-5)


def test_learning_rate_falls_by_ten_every_ten_epochs():
    classifier = Classifier(Fixed(), OptimConfig(learning_rate=1e-2, batch_size=4), num_classes=2)
    parts = classifier.configure_optimizers()
    optimizer, schedule = parts["optimizer"], parts["lr_scheduler"]["scheduler"]
    assert isinstance(optimizer, torch.optim.Adam)
    rates = []
    for _ in range(21):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates[0] == rates[9] == pytest.approx(1e-2)
    assert rates[10] == rates[19] == pytest.approx(1e-3)
    assert rates[20] == pytest.approx(1e-4)


def weights_after(loader: DataLoader, micro_batch: int | None, precision: str = "32-true") -> list[torch.Tensor]:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3))
    classifier = Classifier(net, OptimConfig(learning_rate=1e-2, batch_size=8), num_classes=3, micro_batch=micro_batch)
    trainer = pl.Trainer(max_epochs=3, accelerator="cpu", logger=False, enable_checkpointing=False,
                         enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0,
                         precision=precision)  # fmt: skip
    trainer.fit(classifier, loader, loader)
    metrics = [trainer.callback_metrics[f"{split}_{kind}"] for split in ("train", "val") for kind in ("loss", "acc")]
    return [*net.parameters(), *metrics]


@pytest.mark.parametrize("micro_batch", [1, 3, 4, 8, 100])
def test_micro_batches_train_as_the_whole_batch_does(micro_batch):
    generator = torch.Generator().manual_seed(1)
    data = torch.randn(21, 5, generator=generator), torch.randint(0, 3, (21,), generator=generator)
    loader = DataLoader(TensorDataset(*data), 8)  # the last batch has 5
    for whole, parts in zip(weights_after(loader, None), weights_after(loader, micro_batch), strict=True):
        assert torch.allclose(whole, parts, atol=1e-5)


@pytest.mark.parametrize(("batch", "micro_batch", "sizes"), [(10, 3, [3, 3, 2, 2]), (9, 4, [3, 3, 3]), (8, 8, [8])])
def test_no_part_of_a_batch_is_a_single_image(batch, micro_batch, sizes):
    class Sizes(Fixed):
        def forward(self, images):
            seen.append(len(images))
            return super().forward(images)

    seen = []
    classifier = Classifier(Sizes(), OptimConfig(learning_rate=1e-2, batch_size=batch), 2, micro_batch)
    classifier.validation_step((torch.zeros(batch, 2), torch.zeros(batch, dtype=torch.int64)), 0)
    assert seen == sizes
