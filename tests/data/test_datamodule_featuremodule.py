from types import SimpleNamespace

import numpy as np
import pytest
import torch

from inat.data import loader
from inat.data.datamodule import FeatureDataModule, FeatureDataset, Features
from inat.data.feature_store import FeatureStore

CPU = torch.device("cpu")
PHOTOS, VIEWS = 10, 3


@pytest.fixture
def features() -> Features:
    """View v of photo p is filled with 100 v + p, and the photo's label is 7 p."""
    views = [np.arange(PHOTOS, dtype=np.float32)[:, None].repeat(4, 1) + 100 * v for v in range(VIEWS)]
    return Features([FeatureStore(rows, "float32") for rows in views], np.arange(PHOTOS) * 7)


def module(features: Features, seed: int = 1) -> FeatureDataModule:
    return FeatureDataModule(features, features, ("a", "b"), batch_size=4, seed=seed)


def epoch(features: Features, number: int, seed: int = 1) -> list[tuple[int, int, int]]:
    """(view, photo, label) of an epoch's training photographs in order."""
    batches = module(features, seed).train_dataloader()
    batches.sampler.set_epoch(number)
    return [
        (int(value) // 100, int(value) % 100, int(label))
        for batch in batches
        for value, label in zip(batch.images[:, 0], batch.labels, strict=True)
    ]


def test_every_photo_comes_once_an_epoch_with_its_label(features):
    for number in range(3):
        assert sorted(photo for _, photo, _ in epoch(features, number)) == list(range(PHOTOS))
        assert all(label == 7 * photo for _, photo, label in epoch(features, number))


def test_views_and_order_are_drawn_from_seed_and_epoch_alone(features):
    assert epoch(features, 0) == epoch(features, 0)
    others = [epoch(features, 1), epoch(features, 0, seed=2)]
    for other in others:
        assert [photo for _, photo, _ in other] != [photo for _, photo, _ in epoch(features, 0)]
        assert [view for view, _, _ in sorted(other, key=lambda seen: seen[1])] != [
            view for view, _, _ in sorted(epoch(features, 0), key=lambda seen: seen[1])
        ]


def test_all_views_are_drawn_equally_often(features):
    drawn = np.bincount([view for number in range(200) for view, _, _ in epoch(features, number)])
    # 2,000 draws: a standard deviation is 21.
    assert drawn == pytest.approx(np.full(VIEWS, 2000 / 3), abs=85)


def test_a_pass_draws_nothing_from_the_global_generator(features):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    epoch(features, 0)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_order_is_that_of_the_images(features):
    expected = list(loader.EpochShuffle(PHOTOS, seed=1))
    assert [photo for _, photo, _ in epoch(features, 0)] == expected


def test_a_last_training_batch_of_one_is_left_out(features):
    loaders = FeatureDataModule(features, Features(features.views[:1], features.labels), ("a", "b"), 3, seed=1)
    assert [len(batch.labels) for batch in loaders.train_dataloader()] == [3, 3, 3]
    assert [len(batch.labels) for batch in loaders.val_dataloader()] == [3, 3, 3, 1]


def test_validation_goes_in_order(features):
    batches = list(module(Features(features.views[:1], features.labels)).val_dataloader())
    assert torch.cat([batch.labels for batch in batches]).tolist() == (np.arange(PHOTOS) * 7).tolist()
    assert torch.cat([batch.images for batch in batches])[:, 3].tolist() == list(range(PHOTOS))


def test_maps_come_as_the_network_made_them():
    made = torch.randn(5, 3, 2, 4).to(memory_format=torch.channels_last).bfloat16()
    rows = made.permute(0, 2, 3, 1).contiguous().view(torch.uint16).numpy()
    dataset = FeatureDataset(Features([FeatureStore(rows, "bfloat16")], np.arange(5)), CPU)
    batch = dataset.__getitems__([4, 1])
    assert torch.equal(batch.images, made[[4, 1]])
    assert batch.images.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(dataset[3].images, made[3])


def test_tokens_come_as_they_are():
    tokens = torch.randn(5, 7, 8)
    dataset = FeatureDataset(Features([FeatureStore(tokens.numpy(), "float32")], np.arange(5)), CPU)
    assert torch.equal(dataset.__getitems__([0, 3]).images, tokens[[0, 3]])


@pytest.mark.parametrize(("room", "on_device"), [(VIEWS, True), (VIEWS - 1, False)])
def test_features_are_kept_on_a_gpu_if_all_views_fit_there(features, monkeypatch, room, on_device):
    # There is no GPU in the tests: the copies are stood in for, the decision is the real one.
    nbytes = features.views[0].rows.nbytes
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (int(room * nbytes / loader.GPU_COPY_SHARE), 10**9))
    copied = []
    monkeypatch.setattr(torch.Tensor, "to", lambda self, device, **_: (copied.append(self.nbytes), self.clone())[1])
    dataset = FeatureDataset(features, torch.device("cuda", 0))
    assert dataset.on_device is on_device
    assert copied.count(nbytes) == VIEWS * on_device
    stored = [view.rows.ctypes.data for view in features.views]
    assert [view.data_ptr() == place for view, place in zip(dataset.views, stored, strict=True)] == [
        not on_device
    ] * VIEWS


def test_features_outside_a_gpu_are_sent_ahead(features):
    sent = module(features)
    sent.trainer = SimpleNamespace(strategy=SimpleNamespace(root_device=CPU))
    assert not isinstance(sent.train_dataloader(), loader.PrefetchingLoader)
    kind = loader.loader_of(FeatureDataset(features, CPU), None, 4, to_send=True)
    assert isinstance(kind, loader.PrefetchingLoader)
    assert kind.pin_memory
