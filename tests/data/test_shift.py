import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from inat.config.trial import DataConfig
from inat.data.datamodule import ImageDataModule, network_input
from inat.data.loader import SplitDataset
from inat.data.shift import largest_shift, shift, shift_by
from inat.data.splits import load_splits

SHIFTED = DataConfig(data="digits", image_size=16, use_augmentation=True, augmentation_policy="shift")


def noise(count: int, side: int) -> torch.Tensor:
    random = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, side, side, 3), dtype=torch.uint8, generator=random).permute(0, 3, 1, 2)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 40), st.floats(0, 1, exclude_max=True, width=32), st.floats(0, 1, exclude_max=True, width=32),
       st.booleans())  # fmt: skip
def test_a_shift_is_a_crop_of_the_image_with_its_reflection(side, down, across, mirrored):
    images, most = noise(1, side), largest_shift(side)
    numbers = torch.tensor([[down], [across], [0.2 if mirrored else 0.7]])
    turned = images.flip(3) if mirrored else images
    padded = functional.pad(turned.float(), [most] * 4, mode="reflect")
    top, left = int(numbers[0] * (2 * most + 1)), int(numbers[1] * (2 * most + 1))
    expected = padded[:, :, top : top + side, left : left + side]
    assert torch.equal(shift_by(images, torch.zeros(1), numbers).float(), expected)


def test_shifts_are_of_all_lengths_and_half_of_the_images_are_mirrored():
    torch.manual_seed(0)
    side = 32
    column = torch.arange(side, dtype=torch.uint8).expand(600, 3, side, side)
    shifted = shift(column, torch.zeros(600))
    mirrored = shifted[:, 0, 0, 10] > shifted[:, 0, 0, 20]
    assert 250 < mirrored.sum() < 350
    middle = torch.where(mirrored, shifted[:, 0, 0, side - 1 - 16], shifted[:, 0, 0, 16]).int() - 16
    assert middle.unique().tolist() == [-2, -1, 0, 1, 2]
    assert shifted.dtype == torch.uint8
    assert shifted.is_contiguous(memory_format=torch.channels_last)


def test_the_same_seed_shifts_alike_and_the_next_call_otherwise():
    images, chance = noise(8, 32), torch.zeros(8)
    torch.manual_seed(1)
    first, second = shift(images, chance), shift(images, chance)
    torch.manual_seed(1)
    assert torch.equal(shift(images, chance), first)
    assert not torch.equal(first, second)


def test_images_are_mirrored_as_their_signs_say():
    images = noise(6, 8)
    signs, numbers = torch.tensor([1.0, -1, 1, -1, -1, 1]), torch.rand(3, 6)
    turned = torch.where(signs.view(-1, 1, 1, 1) < 0, images.flip(3), images)
    assert torch.equal(shift_by(images, signs, numbers), shift_by(turned, torch.ones(6), numbers))


def test_images_that_are_drawn_evenly_are_mirrored_by_chance():
    """A rare image comes several times in an epoch, so that turns would show it on one side only."""
    batch = next(iter(ImageDataModule(SHIFTED, batch_size=500, seed=4, balanced=True).train_dataloader()))
    assert batch.aspects.unique().tolist() == [0]


def test_each_image_is_mirrored_in_every_second_epoch():
    module = ImageDataModule(SHIFTED, batch_size=500, seed=4)
    loader = module.train_dataloader()
    seen = []
    for epoch in range(3):
        loader.sampler.set_epoch(epoch)
        order = list(loader.sampler)
        aspects = torch.cat([batch.aspects for batch in loader])
        assert aspects.unique().tolist() == [-1, 1]
        seen.append({index % len(module.splits.train): int(sign) for index, sign in zip(order, aspects, strict=True)})
    assert all(seen[0][row] == -seen[1][row] for row in seen[0].keys() & seen[1].keys())
    assert all(seen[0][row] == seen[2][row] for row in seen[0].keys() & seen[2].keys())
    assert 0.4 < sum(sign < 0 for sign in seen[0].values()) / len(seen[0]) < 0.6


def test_rows_keep_their_labels_when_their_indices_say_mirror():
    dataset = SplitDataset(load_splits(SHIFTED).train, torch.device("cpu"))
    plain, mirrored = dataset.__getitems__([3, 5]), dataset.__getitems__([3 + 2 * len(dataset), 5 + len(dataset)])
    assert torch.equal(plain.images, mirrored.images)
    assert torch.equal(plain.labels, mirrored.labels)
    assert (plain.aspects.tolist(), mirrored.aspects.tolist()) == ([0, 0], [-1, 1])


def test_training_images_are_not_stored_twice_and_their_batches_differ_between_epochs():
    config = SHIFTED
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
