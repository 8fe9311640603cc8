from collections import OrderedDict

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.precision import MixedPrecision
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from inat.config.optim import OptimConfig
from inat.models.classifier import Classifier
from inat.models.schedules import cosine_factor, trapezoid_factor
from inat.models.weight_average import WeightAverage, decay_at

QUIET = {
    "accelerator": "cpu", "logger": False, "enable_checkpointing": False, "enable_progress_bar": False,
    "enable_model_summary": False, "num_sanity_val_steps": 0,
}  # fmt: skip


class Fixed(nn.Module):
    """Returns its input as logits, times one weight for the optimizer."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, images):
        return images * self.scale


def test_metrics_count_images_not_batches():
    # Batches of 4 and 1: three of five images are right, 0.6; the mean of the batch means would be 0.375.
    logits = torch.eye(2)[[0, 0, 0, 1, 0]] * 9
    labels = torch.tensor([0, 0, 0, 0, 1])
    loader = DataLoader(TensorDataset(logits, labels), 4)
    classifier = Classifier(Fixed(), OptimConfig(learning_rate=1e-9, batch_size=4), num_classes=2)
    trainer = pl.Trainer(max_epochs=1, **QUIET)
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


@pytest.fixture
def tiny() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))


def test_the_default_optimizer_is_adam_with_steps_as_published_for_nature_12k(tiny):
    parts = Classifier(tiny, OptimConfig(learning_rate=1e-2, batch_size=4), 2).configure_optimizers()
    assert type(parts["optimizer"]) is torch.optim.Adam
    assert [len(group["params"]) for group in parts["optimizer"].param_groups] == [6]
    assert parts["lr_scheduler"]["interval"] == "epoch"


def test_weight_decay_is_decoupled_and_spares_norms_and_biases(tiny):
    optim = OptimConfig(learning_rate=1e-2, batch_size=4, weight_decay=0.1)
    optimizer = Classifier(tiny, optim, 2).configure_optimizers()["optimizer"]
    assert type(optimizer) is torch.optim.AdamW
    before = {name: parameter.clone() for name, parameter in tiny.named_parameters()}
    for parameter in tiny.parameters():
        parameter.grad = torch.zeros_like(parameter)  # only decay moves parameters now
    optimizer.step()
    for name, parameter in tiny.named_parameters():
        factor = 1 - 1e-2 * 0.1 if name in ("0.weight", "3.weight") else 1
        assert torch.allclose(parameter, before[name] * factor), name


def test_with_weight_decay_the_body_learns_more_slowly_than_the_head():
    net = nn.Sequential(OrderedDict(body=nn.Linear(2, 2), head=nn.Linear(2, 2)))
    optim = OptimConfig(learning_rate=1.0, batch_size=4, weight_decay=0.1)
    groups = Classifier(net, optim, 2, body_lr_factor=0.1).configure_optimizers()["optimizer"].param_groups
    assert [(group["lr"], group["weight_decay"]) for group in groups] == [
        (1.0, 0.1),
        (1.0, 0.0),
        (0.1, 0.1),
        (0.1, 0.0),
    ]
    assert groups[2]["params"][0] is net.body.weight


class Rates(pl.Callback):
    """Records the learning rate of every step."""

    def __init__(self):
        self.seen = []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.seen.append(trainer.optimizers[0].param_groups[0]["lr"])


def train(net: nn.Module, optim: OptimConfig, loader: DataLoader, callbacks=(), epochs: int = 2) -> Classifier:
    classifier = Classifier(net, optim, num_classes=2)
    trainer = pl.Trainer(max_epochs=epochs, callbacks=list(callbacks), **QUIET)
    trainer.fit(classifier, loader, loader)
    return classifier


def image_batches(count: int = 20) -> DataLoader:
    generator = torch.Generator().manual_seed(1)
    data = torch.randn(count, 3, 3, 3, generator=generator), torch.randint(0, 2, (count,), generator=generator)
    return DataLoader(TensorDataset(*data), 8)  # 3 batches


@pytest.mark.parametrize("schedule", ["cosine", "trapezoid"])
def test_a_schedule_of_steps_runs_over_the_steps_of_all_epochs(tiny, schedule):
    rates = Rates()
    optim = OptimConfig(learning_rate=0.5, batch_size=8, schedule=schedule, warmup_share=0.25, decay_share=0.5)
    train(tiny, optim, image_batches(), [rates], epochs=4)
    curves = {"cosine": lambda step: cosine_factor(step, 12, 3), "trapezoid": lambda s: trapezoid_factor(s, 12, 3, 6)}
    assert rates.seen == pytest.approx([0.5 * curves[schedule](step) for step in range(12)])


def test_label_smoothing_changes_only_the_training_loss():
    logits, labels = torch.eye(2)[[0, 0, 1, 0]] * 3, torch.tensor([0, 0, 1, 1])
    loader = DataLoader(TensorDataset(logits, labels), 4)
    optim = OptimConfig(learning_rate=1e-9, batch_size=4, label_smoothing=0.2)
    metrics = train(Fixed(), optim, loader, epochs=1).trainer.callback_metrics
    smoothed = torch.full((4, 2), 0.1)
    smoothed[range(4), labels] = 0.9
    assert metrics["train_loss"].item() == pytest.approx(nn.functional.cross_entropy(logits, smoothed).item(), rel=1e-5)
    assert metrics["val_loss"].item() == pytest.approx(nn.functional.cross_entropy(logits, labels).item(), rel=1e-5)
    assert metrics["train_acc"].item() == pytest.approx(0.75)


def test_the_class_of_a_mixed_image_is_that_of_its_larger_part():
    classifier = Classifier(Fixed(), OptimConfig(learning_rate=1, batch_size=4), num_classes=2)
    classifier.mix_batch = lambda images, labels: (images, torch.tensor([[0.7, 0.3], [0.4, 0.6]]))
    classifier.training_step((torch.eye(2) * 5, torch.tensor([1, 0])), 0)
    assert classifier.meters["train_acc"].compute().item() == 1.0


def test_validation_images_are_not_mixed(tiny):
    optim = OptimConfig(learning_rate=0.1, batch_size=8, mixup_alpha=1.0, random_erasing=0.9)
    classifier = Classifier(tiny, optim, 2)
    seen = []
    tiny.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    batch = next(iter(image_batches()))
    classifier.validation_step(batch, 0)
    classifier.training_step(batch, 0)
    assert torch.equal(seen[0], batch[0])
    assert not torch.equal(seen[1], batch[0])


def test_the_average_is_validated_and_kept(tiny):
    optim = OptimConfig(learning_rate=0.1, batch_size=8, ema_decay=0.9)
    classifier = train(tiny, optim, image_batches())
    assert classifier.average.n_averaged == 6
    kept = classifier.trained_state()
    assert kept.keys() == Classifier(tiny, optim, 2).state_dict().keys()
    weights, averaged = tiny.state_dict(), classifier.average.module.state_dict()
    assert all(torch.equal(kept[f"net.{key}"], tensor) for key, tensor in averaged.items())
    assert not torch.equal(weights["3.weight"], averaged["3.weight"])
    rebuilt = Classifier(tiny, optim, 2)
    rebuilt.load_state_dict(kept)
    images, labels = next(iter(DataLoader(image_batches().dataset, 20)))
    loss = nn.functional.cross_entropy(rebuilt.eval()(images), labels)
    assert classifier.trainer.callback_metrics["val_loss"].item() == pytest.approx(loss.item(), rel=1e-5)


def weights_after(loader: DataLoader, micro_batch: int | None) -> list[torch.Tensor]:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3))
    classifier = Classifier(net, OptimConfig(learning_rate=1e-2, batch_size=8), num_classes=3, micro_batch=micro_batch)
    trainer = pl.Trainer(max_epochs=3, **QUIET)
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


@pytest.mark.parametrize("settings", [{"schedule": "cosine", "warmup_share": 0.25}, {"lr_step_epochs": 2}])
def test_micro_batches_follow_the_schedule_of_whole_batches(settings):
    def rates_with(micro_batch: int | None) -> list[float]:
        torch.manual_seed(0)
        rates = Rates()
        classifier = Classifier(
            nn.Linear(5, 3), OptimConfig(learning_rate=0.5, batch_size=8, **settings), 3, micro_batch
        )
        trainer = pl.Trainer(max_epochs=4, callbacks=[rates], **QUIET)
        data = DataLoader(TensorDataset(torch.ones(21, 5), torch.zeros(21, dtype=torch.int64)), 8)
        trainer.fit(classifier, data, data)
        assert trainer.global_step == 12
        return rates.seen

    assert rates_with(3) == rates_with(None)
    assert len(set(rates_with(3))) > 1


@pytest.mark.parametrize("micro_batch", [None, 3])
def test_losses_are_scaled_where_gradients_are_16_bit(micro_batch):
    """As on a GPU with float16 arithmetic, where small gradients would become 0: here the scale is 2**12."""
    seen = []

    class Scaled(nn.Linear):
        def forward(self, features):
            logits = super().forward(features)
            if logits.requires_grad:
                logits.register_hook(lambda gradient: seen.append(gradient.abs().max().item()))
            return logits

    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**12)
    trainer = pl.Trainer(max_epochs=1, plugins=[MixedPrecision("16-mixed", "cpu", scaler)], **QUIET)
    data = DataLoader(TensorDataset(torch.ones(8, 5), torch.zeros(8, dtype=torch.int64)), 8)
    classifier = Classifier(Scaled(5, 3), OptimConfig(learning_rate=1e-3, batch_size=8), 3, micro_batch)
    before = classifier.net.weight.detach().clone()
    trainer.fit(classifier, data, data)
    assert len(seen) == (1 if micro_batch is None else 3)
    assert min(seen) > 100  # without the scale, at most 1/8
    moved = (classifier.net.weight.detach() - before).abs()
    assert moved.max().item() == pytest.approx(1e-3, rel=0.01)  # Adam's first step, for any scale


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


def test_the_decay_grows_to_the_given_value():
    assert [decay_at(count, 0.9) for count in (1, 8, 80, 81, 1000)] == pytest.approx([2 / 11, 0.5, 0.9, 0.9, 0.9])


def test_the_average_follows_parameters_and_buffers():
    net = nn.BatchNorm1d(1)
    average = WeightAverage(net, 0.3)
    expected = []
    for step, value in enumerate((1.0, 5.0, -2.0)):
        with torch.no_grad():
            net.weight.fill_(value)
            net.running_mean.fill_(10 * value)
        average.update_parameters(net)
        kept = decay_at(step, 0.3)
        expected.append(value if step == 0 else kept * expected[-1] + (1 - kept) * value)
    assert average.module.weight.item() == pytest.approx(expected[-1])
    assert average.module.running_mean.item() == pytest.approx(10 * expected[-1])
    assert not any(parameter.requires_grad for parameter in average.parameters())


def test_the_counter_of_the_average_stays_on_the_cpu():
    average = WeightAverage(nn.Linear(2, 2), 0.9).to("meta")
    assert average.module.weight.is_meta
    assert average.n_averaged.device.type == "cpu"
    average.update_parameters(nn.Linear(2, 2, device="meta"))
    assert average.n_averaged == 1


def test_the_counter_of_the_average_is_in_its_state_dict():
    average = WeightAverage(nn.Linear(2, 2), 0.9)
    for _ in range(3):
        average.update_parameters(nn.Linear(2, 2))
    state = average.state_dict()
    assert int(state["n_averaged"]) == 3
    other = WeightAverage(nn.Linear(2, 2), 0.9)
    other.load_state_dict(state)
    average.update_parameters(nn.Linear(2, 2))
    assert (int(average.n_averaged), int(other.n_averaged)) == (4, 3)
    del state["n_averaged"]
    with pytest.raises(RuntimeError, match=r"Missing key.*n_averaged"):
        other.load_state_dict(state)


def weighted(labels: torch.Tensor, smoothing: float = 0.0) -> tuple[torch.Tensor, torch.Tensor, Classifier]:
    """Losses of the training, the log probabilities and the classifier, with the class weights 0.5 and 4."""
    logits = torch.tensor([[2.0, 0.0], [0.0, 1.0], [1.0, 3.0]])
    optim = OptimConfig(learning_rate=1e-9, batch_size=4, label_smoothing=smoothing)
    classifier = Classifier(Fixed(), optim, num_classes=2, class_weights=[0.5, 4.0])
    return classifier._training_losses((logits, labels)), logits.log_softmax(1), classifier


def test_class_weights_multiply_the_loss_of_each_image():
    losses, log_p, _ = weighted(torch.tensor([0, 1, 0]))
    expected = [-0.5 * log_p[0, 0], -4 * log_p[1, 1], -0.5 * log_p[2, 0]]
    assert losses.tolist() == pytest.approx([value.item() for value in expected])


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_a_mixed_label_has_the_weights_of_its_classes(smoothing):
    shares = torch.tensor([[1.0, 0.0], [0.25, 0.75], [0.6, 0.4]])
    losses, log_p, _ = weighted(shares, smoothing)
    smooth = shares * (1 - smoothing) + smoothing / 2
    assert losses.tolist() == pytest.approx((-(smooth * torch.tensor([0.5, 4.0]) * log_p).sum(1)).tolist())


def test_the_validation_loss_is_not_weighted_and_weights_are_in_no_checkpoint():
    _, _, classifier = weighted(torch.tensor([0, 1, 0]))
    logits, labels = torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 1])
    classifier.validation_step((logits, labels), 0)
    expected = nn.functional.cross_entropy(logits, labels).item()
    assert classifier.meters["val_loss"].compute().item() == pytest.approx(expected)
    assert not any("class_weights" in name for name in classifier.state_dict())
