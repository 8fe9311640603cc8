from types import SimpleNamespace

import numpy as np
import pytest
import torch

from inat.data import datamodule, loader, resident
from inat.data.datamodule import FeatureDataModule, FeatureDataset, Features
from inat.data.feature_store import FeatureStore
from inat.data.loader import Held
from inat.data.sending import PrefetchingLoader
from tests.data.fake_gpu import FakeGpu

CPU = torch.device("cpu")
IMAGES, VIEWS = 10, 3


@pytest.fixture
def features() -> Features:
    """View v of image i is filled with 100 v + i, and the label of image i is 7 i."""
    views = [np.arange(IMAGES, dtype=np.float32)[:, None].repeat(4, 1) + 100 * v for v in range(VIEWS)]
    return Features([FeatureStore(rows, "float32") for rows in views], np.arange(IMAGES) * 7)


def module(features: Features, seed: int = 1) -> FeatureDataModule:
    return FeatureDataModule(features, features, ("a", "b"), batch_size=4, seed=seed)


def epoch(features: Features, number: int, seed: int = 1) -> list[tuple[int, int, int]]:
    """(view, image, label) of the training images of an epoch, in order."""
    batches = module(features, seed).train_dataloader()
    batches.sampler.set_epoch(number)
    return [
        (int(value) // 100, int(value) % 100, int(label))
        for batch in batches
        for value, label in zip(batch.images[:, 0], batch.labels, strict=True)
    ]


def test_every_image_comes_once_per_epoch_with_its_label(features):
    for number in range(3):
        assert sorted(image for _, image, _ in epoch(features, number)) == list(range(IMAGES))
        assert all(label == 7 * image for _, image, label in epoch(features, number))


def test_views_and_order_depend_only_on_seed_and_epoch(features):
    assert epoch(features, 0) == epoch(features, 0)
    others = [epoch(features, 1), epoch(features, 0, seed=2)]
    for other in others:
        assert [image for _, image, _ in other] != [image for _, image, _ in epoch(features, 0)]
        assert [view for view, _, _ in sorted(other, key=lambda seen: seen[1])] != [
            view for view, _, _ in sorted(epoch(features, 0), key=lambda seen: seen[1])
        ]


def test_all_views_are_drawn_equally_often(features):
    drawn = np.bincount([view for number in range(200) for view, _, _ in epoch(features, number)])
    # The standard deviation of 2,000 draws is 21.
    assert drawn == pytest.approx(np.full(VIEWS, 2000 / 3), abs=85)


def test_a_pass_draws_nothing_from_the_global_generator(features):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    epoch(features, 0)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_order_equals_that_of_the_image_data_module(features):
    expected = list(loader.EpochShuffle(IMAGES, seed=1))
    assert [image for _, image, _ in epoch(features, 0)] == expected


def test_a_last_training_batch_of_one_is_left_out(features):
    loaders = FeatureDataModule(features, Features(features.views[:1], features.labels), ("a", "b"), 3, seed=1)
    assert [len(batch.labels) for batch in loaders.train_dataloader()] == [3, 3, 3]
    assert [len(batch.labels) for batch in loaders.val_dataloader()] == [3, 3, 3, 1]


def test_validation_goes_in_order(features):
    batches = list(module(Features(features.views[:1], features.labels)).val_dataloader())
    assert torch.cat([batch.labels for batch in batches]).tolist() == (np.arange(IMAGES) * 7).tolist()
    assert torch.cat([batch.images for batch in batches])[:, 3].tolist() == list(range(IMAGES))


def test_feature_maps_come_back_as_the_network_made_them():
    made = torch.randn(5, 3, 2, 4).to(memory_format=torch.channels_last).bfloat16()
    rows = made.permute(0, 2, 3, 1).contiguous().view(torch.uint16).numpy()
    dataset = FeatureDataset(Features([FeatureStore(rows, "bfloat16")], np.arange(5)), CPU)
    batch = dataset.__getitems__([4, 1])
    assert torch.equal(batch.images, made[[4, 1]])
    assert batch.images.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(dataset[3].images, made[3])


def test_tokens_come_back_as_the_network_made_them():
    tokens = torch.randn(5, 7, 8)
    dataset = FeatureDataset(Features([FeatureStore(tokens.numpy(), "float32")], np.arange(5)), CPU)
    assert torch.equal(dataset.__getitems__([0, 3]).images, tokens[[0, 3]])


@pytest.mark.parametrize(("room", "on_device"), [(VIEWS, True), (VIEWS - 1, False)])
def test_features_are_kept_on_a_gpu_if_all_views_fit_there(features, room, on_device):
    nbytes = features.views[0].rows.nbytes
    gpu = FakeGpu(total=int(room * nbytes / resident.RESIDENT_SHARE))
    copies = resident.hold(module(features).parts(), gpu)[0]
    assert gpu.copied == [nbytes] * VIEWS * on_device
    assert (copies is not None) is on_device
    dataset = FeatureDataset(features, CPU, copies and Held(copies, []))
    stored = [view.rows.ctypes.data for view in features.views]
    assert [view.data_ptr() == place for view, place in zip(dataset.views, stored, strict=True)] == [
        not on_device
    ] * VIEWS


def test_features_that_do_not_fit_on_a_gpu_are_prefetched(features):
    sent = module(features)
    sent.trainer = SimpleNamespace(strategy=SimpleNamespace(root_device=CPU))
    assert not isinstance(sent.train_dataloader(), PrefetchingLoader)
    kind = loader.batch_loader(FeatureDataset(features, CPU), 4, torch.device("cuda"))
    assert isinstance(kind, PrefetchingLoader)
    assert kind.device == torch.device("cuda")


def test_a_balanced_sampler_draws_classes_of_features_evenly_and_all_views(features):
    labels = np.array([0] * 8 + [1] * 2)
    rare = Features(features.views, labels)
    batches = FeatureDataModule(rare, rare, ("a", "b"), batch_size=4, seed=1, balanced=True).train_dataloader()
    seen, views = [], set()
    for number in range(20):
        batches.sampler.set_epoch(number)
        for batch in batches:
            views |= {int(value) // 100 for value in batch.images[:, 0]}
            images = [int(value) % 100 for value in batch.images[:, 0]]
            assert labels[images].tolist() == batch.labels.tolist()
            seen += batch.labels.tolist()
    assert np.bincount(seen).tolist() == [100, 100]
    assert views == set(range(VIEWS))


@pytest.mark.parametrize("folds", [False, True])
def test_views_that_are_too_large_to_be_copied_give_the_same_batches(features, folds, monkeypatch):
    rows = np.array([7, 2, 5]) if folds else None
    chosen = Features(features.views, features.labels[:3] if folds else features.labels, rows)
    count = 3 if folds else IMAGES
    indices = [view * count + row for row in (2, 0, 1) for view in (1, 0, 2)]
    joined = FeatureDataset(chosen, CPU)
    monkeypatch.setattr(datamodule, "JOINED_BYTES", 0)
    separate = FeatureDataset(chosen, CPU)
    assert (joined.joined is None, separate.joined is None) == (False, True)
    for name in ("images", "labels"):
        first, second = (getattr(dataset.__getitems__(indices), name) for dataset in (joined, separate))
        assert torch.equal(first, second)
    expected = [100 * view + ([7, 2, 5][row] if folds else row) for row in (2, 0, 1) for view in (1, 0, 2)]
    assert joined.__getitems__(indices).images[:, 0].tolist() == expected
