import numpy as np
import torch

from inat.config import DataConfig
from inat.constants import IMAGENET_MEAN, IMAGENET_STD
from inat.data.augment import normalise, training_augmentation
from inat.data.datamodule import EpochShuffle, ImageDataModule


def module(augment: bool, batch_size: int = 64) -> ImageDataModule:
    return ImageDataModule(DataConfig(data="digits", image_size=16, use_augmentation=augment), batch_size, seed=3)


def epoch(loader, number: int):
    loader.sampler.set_epoch(number)
    torch.manual_seed(number)
    images, labels = zip(*loader, strict=True)
    return torch.cat(images), torch.cat(labels)


def test_an_epoch_is_a_permutation_of_the_split():
    data = module(augment=False)
    images, labels = epoch(data.train_dataloader(), 0)
    assert images.shape == (1149, 3, 16, 16)
    assert images.dtype == torch.uint8
    rows = data.splits.train
    assert torch.equal(labels.bincount(), torch.from_numpy(rows.labels[rows.rows]).bincount())


def test_order_depends_on_seed_and_epoch_alone():
    a, b = EpochShuffle(50, seed=1), EpochShuffle(50, seed=1)
    first = list(a)
    assert sorted(first) == list(range(50))
    assert list(b) == first
    a.set_epoch(1)
    assert list(a) != first
    assert list(EpochShuffle(50, seed=2)) != first


def test_training_images_differ_between_epochs_only_with_augmentation():
    for augment in (False, True):
        dataset = module(augment).train_dataloader().dataset
        first, second = (dataset.__getitems__(list(range(32)))[0] for _ in range(2))
        assert torch.equal(first, second) is not augment


def test_validation_and_test_images_are_never_augmented():
    plain, augmented = module(False), module(True)
    for name in ("val_dataloader", "test_dataloader"):
        a = torch.cat([images for images, _ in getattr(plain, name)()])
        b = torch.cat([images for images, _ in getattr(augmented, name)()])
        assert torch.equal(a, b)


def test_batches_are_normalised_after_the_transfer():
    data = module(False)
    batch = next(iter(data.val_dataloader()))
    images, labels = data.on_after_batch_transfer(batch, 0)
    black = (0 - torch.tensor(IMAGENET_MEAN)) / torch.tensor(IMAGENET_STD)
    white = (1 - torch.tensor(IMAGENET_MEAN)) / torch.tensor(IMAGENET_STD)
    assert images.dtype == torch.float32
    assert torch.allclose(images.amin((0, 2, 3)), black)
    assert torch.allclose(images.amax((0, 2, 3)), white)
    assert torch.equal(labels, batch[1])


def test_normalising_leaves_the_input_alone():
    images = torch.randint(0, 256, (2, 3, 4, 4), dtype=torch.uint8)
    copy = images.clone()
    normalise(images)
    assert torch.equal(images, copy)


def test_augmentation_keeps_shape_and_type_and_changes_the_image():
    image = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, 20, 20), dtype=np.uint8))
    augment = training_augmentation(16)
    torch.manual_seed(0)
    first, second = augment(image), augment(image)
    assert first.shape == (3, 16, 16)
    assert first.dtype == torch.uint8
    assert not torch.equal(first, second)
    torch.manual_seed(0)
    assert torch.equal(augment(image), first)
