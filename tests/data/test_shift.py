import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from inat.config.trial import DataConfig
from inat.data.datamodule import ImageDataModule, network_input
from inat.data.shift import largest_shift, shift, shift_by
from inat.data.splits import load_splits


def noise(count: int, side: int) -> torch.Tensor:
    random = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, side, side, 3), dtype=torch.uint8, generator=random).permute(0, 3, 1, 2)


@settings(max_examples=40)
@given(st.integers(1, 40), st.floats(0, 1, exclude_max=True, width=32), st.floats(0, 1, exclude_max=True, width=32),
       st.booleans())  # fmt: skip
def test_a_shift_is_a_crop_of_the_image_with_its_reflection(side, down, across, mirrored):
    images, most = noise(1, side), largest_shift(side)
    numbers = torch.tensor([[down], [across], [0.2 if mirrored else 0.7]])
    turned = images.flip(3) if mirrored else images
    padded = functional.pad(turned.float(), [most] * 4, mode="reflect")
    top, left = int(numbers[0] * (2 * most + 1)), int(numbers[1] * (2 * most + 1))
    expected = padded[:, :, top : top + side, left : left + side]
    assert torch.equal(shift_by(images, numbers).float(), expected)


def test_shifts_are_of_all_lengths_and_half_of_the_images_are_mirrored():
    torch.manual_seed(0)
    side = 32
    column = torch.arange(side, dtype=torch.uint8).expand(600, 3, side, side)
    shifted = shift(column)
    mirrored = shifted[:, 0, 0, 10] > shifted[:, 0, 0, 20]
    assert 250 < mirrored.sum() < 350
    middle = torch.where(mirrored, shifted[:, 0, 0, side - 1 - 16], shifted[:, 0, 0, 16]).int() - 16
    assert middle.unique().tolist() == [-2, -1, 0, 1, 2]
    assert shifted.dtype == torch.uint8
    assert shifted.is_contiguous(memory_format=torch.channels_last)


def test_the_same_seed_shifts_alike_and_the_next_call_otherwise():
    images = noise(8, 32)
    torch.manual_seed(1)
    first, second = shift(images), shift(images)
    torch.manual_seed(1)
    assert torch.equal(shift(images), first)
    assert not torch.equal(first, second)


def test_training_images_are_not_stored_twice_and_their_batches_differ_between_epochs():
    config = DataConfig(data="digits", image_size=16, use_augmentation=True, augmentation_policy="shift")
    splits = load_splits(config)
    assert splits.train.crops.images is splits.train.images
    module = ImageDataModule(config, batch_size=8)
    batch = next(iter(module.train_dataloader()))
    first, second = network_input(batch, config), network_input(batch, config)
    assert first.shape == second.shape == (8, 3, 16, 16)
    assert not torch.equal(first, second)
    assert next(iter(module.val_dataloader())).aspects is None


def test_photos_are_decoded_at_one_size(image_tree, tmp_path):
    options = {"data": str(image_tree()), "image_size": 16, "cache_dir": str(tmp_path / "cache")}
    config = DataConfig(**options, use_augmentation=True, augmentation_policy="shift")
    assert load_splits(config).train.crops.images.shape[1] == config.crop_size == 16
    assert [path.name for path in (tmp_path / "cache").glob("*px")] != []
    assert all(path.name.endswith("-16px") for path in (tmp_path / "cache").glob("*px"))
