import copy

import pytest
import pytorch_lightning as pl
import torch
from torch import nn

from inat.config.trial import TrialConfig
from inat.models.average_statistics import IMAGES, RecentBatches, learning_norms, measure_statistics
from inat.training.epoch_recorder import recorder_of
from inat.training.fit import fit

PARAMS = {
    "data": "digits", "image_size": 16, "width": 8, "depth": 1, "stem_filters": 8, "stem_stride": 1,
    "pooling": "average", "activation": "relu", "dropout": 0.0, "optimizer": "muon", "schedule": "cosine",
    "warmup_share": 0.2, "learning_rate": 0.03, "batch_size": 128, "ema_decay": 0.99, "max_epochs": 3, "seed": 1,
}  # fmt: skip


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 3), nn.BatchNorm2d(2))


def test_the_statistics_are_the_means_of_those_of_the_batches():
    net = network().eval()
    batches = [torch.randn(8, 3, 10, 10) + shift for shift in (0.0, 2.0)]
    before = copy.deepcopy(net[4].state_dict())
    measure_statistics(net, ["1"], batches)
    maps = [net[0](images) for images in batches]
    torch.testing.assert_close(net[1].running_mean, sum(m.mean((0, 2, 3)) for m in maps) / 2)
    torch.testing.assert_close(net[1].running_var, sum(m.var((0, 2, 3)) for m in maps) / 2)
    assert not any(module.training for module in net.modules())
    assert net[1].momentum == 0.1
    for name, value in net[4].state_dict().items():
        torch.testing.assert_close(value, before[name])


def test_batch_norms_are_as_before_if_measuring_fails():
    net = network().eval()
    with pytest.raises(RuntimeError):
        measure_statistics(net, ["1", "4"], [torch.randn(8, 5, 10, 10)])
    assert not net[1].training
    assert net[4].momentum == 0.1


def test_frozen_norms_and_those_without_statistics_do_not_count():
    net = network().train()
    assert learning_norms(net) == ["1", "4"]
    net[1].eval()
    assert learning_norms(net) == ["4"]
    assert learning_norms(nn.Sequential(nn.BatchNorm1d(3, track_running_stats=False), nn.LayerNorm(3))) == []


@pytest.mark.parametrize(("batch", "last"), [(100, 100), (100, 1), (512, 6), (512, 512), (2000, 1), (8, 3), (10, 10)])
def test_enough_images_at_the_end_of_an_epoch_are_kept_however_many_the_last_batch_has(batch, last):
    recent, net = RecentBatches(), network().train()
    for left in reversed(range(80)):
        recent.keep(torch.full((batch if left else last, 3, 2, 2), float(left)), left, net)
    batches, norms = recent.take()
    lefts = [float(images.mean()) for images in batches]
    assert lefts == sorted(lefts, reverse=True)
    assert lefts[-1] == 0
    assert len(batches[-1]) == last
    assert all(len(images) > 1 for images in batches[:-1])
    assert IMAGES <= sum(map(len, batches)) <= IMAGES + batch
    assert norms == ["1", "4"]
    assert recent.take()[0] == []


def test_of_large_images_few_are_kept_beside_the_last_batch():
    recent = RecentBatches()
    for left in (2, 1, 0):
        recent.keep(torch.zeros(1).expand(64, 3, 1024, 1024), left, network().train())
    assert [len(images) for images in recent.take()[0]] == [9, 64]  # 10 of them take 128 MB


def test_networks_without_batch_norm_keep_none():
    recent = RecentBatches()
    recent.keep(torch.zeros(4, 3, 2, 2), 0, nn.Sequential(nn.Linear(2, 2)))
    assert recent.take()[0] == []


def test_a_batch_counts_by_its_images():
    net = network().eval()
    large, small = torch.randn(30, 3, 10, 10), torch.randn(10, 3, 10, 10) + 2
    measure_statistics(net, ["1"], [large, small])
    means = [net[0](images).mean((0, 2, 3)) for images in (large, small)]
    torch.testing.assert_close(net[1].running_mean, 0.75 * means[0] + 0.25 * means[1])


class Kept(pl.Callback):
    """Keeps the state of the averaged network after each epoch."""

    def __init__(self) -> None:
        self.states, self.values = [], []

    def on_train_epoch_end(self, trainer, pl_module):
        self.states.append({name: value.clone() for name, value in pl_module.average.module.state_dict().items()})
        self.values.append(recorder_of(trainer).row["val_acc"])


def trained(**changes) -> Kept:
    kept = Kept()
    fit(TrialConfig.from_params(PARAMS | changes), [kept])
    return kept


def test_only_the_statistics_of_the_average_are_measured_and_early_validation_gains():
    measured, averaged = trained(), trained(ema_statistics="averaged")
    for name, value in measured.states[-1].items():
        same = torch.equal(value, averaged.states[-1][name])
        assert same != ("running" in name or "num_batches" in name), name
    assert sum(measured.values) > sum(averaged.values) + 0.1


def test_a_batch_in_parts_is_measured_in_parts():
    whole, parts = trained(max_epochs=1, accumulate=1), trained(max_epochs=1, batch_size=64, accumulate=2)
    assert parts.values[0] == pytest.approx(whole.values[0], abs=0.25)


def test_an_unknown_way_to_get_statistics_is_refused():
    from inat.errors import ConfigError

    with pytest.raises(ConfigError, match="ema_statistics"):
        TrialConfig.from_params(PARAMS | {"ema_statistics": "guessed"})
