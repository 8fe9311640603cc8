import torch

from inat.config.trial import DataConfig
from inat.constants import IMAGENET_MEAN, IMAGENET_STD
from inat.data.datamodule import ImageDataModule


def module(augment: bool, batch_size: int = 64) -> ImageDataModule:
    return ImageDataModule(DataConfig(data="digits", image_size=16, use_augmentation=augment), batch_size, seed=3)


def epoch(data: ImageDataModule, number: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Network inputs and labels of one training epoch."""
    loader = data.train_dataloader()
    loader.sampler.set_epoch(number)
    torch.manual_seed(number)
    images, labels = zip(*(data.on_after_batch_transfer(batch) for batch in loader), strict=True)
    return torch.cat(images), torch.cat(labels)


def test_an_epoch_is_a_permutation_of_the_split():
    data = module(augment=False)
    images, labels = epoch(data, 0)
    assert images.shape == (1149, 3, 16, 16)
    rows = data.splits.train
    assert torch.equal(labels.bincount(), torch.from_numpy(rows.labels[rows.rows]).bincount())


def test_training_images_differ_between_epochs_only_with_augmentation():
    for augment in (False, True):
        data = module(augment)
        images = [epoch(data, number)[0] for number in (0, 1)]
        sums = [sorted(each.sum((1, 2, 3)).tolist()) for each in images]  # in any order
        assert (sums[0] == sums[1]) is not augment


def test_an_augmented_epoch_repeats_itself_from_its_seed():
    assert torch.equal(epoch(module(True), 4)[0], epoch(module(True), 4)[0])


def test_validation_and_test_images_are_never_augmented():
    plain, augmented = module(False), module(True)
    for name in ("val_dataloader", "test_dataloader"):
        pairs = zip(getattr(plain, name)(), getattr(augmented, name)(), strict=True)
        for a, b in pairs:
            assert torch.equal(plain.on_after_batch_transfer(a)[0], augmented.on_after_batch_transfer(b)[0])


def test_batches_are_normalised_after_the_transfer():
    data = module(False)
    batch = next(iter(data.val_dataloader()))
    assert batch.images.dtype == torch.uint8
    images, labels = data.on_after_batch_transfer(batch)
    black = (0 - torch.tensor(IMAGENET_MEAN)) / torch.tensor(IMAGENET_STD)
    white = (1 - torch.tensor(IMAGENET_MEAN)) / torch.tensor(IMAGENET_STD)
    assert images.dtype == torch.float32
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert torch.allclose(images.amin((0, 2, 3)), black)
    assert torch.allclose(images.amax((0, 2, 3)), white)
    assert torch.equal(labels, batch.labels)


def test_augmented_batches_are_cut_from_larger_images(image_tree, tmp_path):
    config = DataConfig(data=str(image_tree()), image_size=16, cache_dir=str(tmp_path), use_augmentation=True)
    data = ImageDataModule(config, 8)
    batch = next(iter(data.train_dataloader()))
    assert batch.images.shape == (8, 3, 32, 32)
    assert batch.aspects.tolist() == [1.25] * 8
    images, _ = data.on_after_batch_transfer(batch)
    assert images.shape == (8, 3, 16, 16)
    assert images.is_contiguous(memory_format=torch.channels_last)
