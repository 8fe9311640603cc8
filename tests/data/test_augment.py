import math
from pathlib import Path

import numpy as np
import pytest
import sklearn.datasets
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from inat.config.trial import CROP_MARGIN
from inat.constants import IMAGENET_MEAN, IMAGENET_STD
from inat.data import augment as augmentation
from inat.data.augment import augment, normalise, random_affines, random_crops, resample, scale_to_one
from inat.data.decode import Resize, read_image

CPU = torch.device("cpu")
REAL_IMAGES = sorted((Path(sklearn.datasets.__file__).parent / "images").glob("*.jpg"))


def noise(count: int = 4, side: int = 32) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    stored = torch.randint(0, 256, (count, side, side, 3), dtype=torch.uint8, generator=generator)
    return stored.permute(0, 3, 1, 2)


def test_the_same_seed_gives_the_same_images_and_the_next_call_others():
    images, aspects = noise(), torch.ones(4)
    torch.manual_seed(1)
    first, second = augment(images, aspects, 16), augment(images, aspects, 16)
    torch.manual_seed(1)
    assert torch.equal(augment(images, aspects, 16), first)
    assert not torch.equal(first, second)
    assert (first.shape, first.dtype) == ((4, 3, 16, 16), torch.float32)
    assert 0 <= first.min() < first.max() <= 1


def test_light_augmentation_crops_and_flips_and_leaves_the_colours():
    torch.manual_seed(0)
    halves = torch.zeros(300, 3, 32, 32, dtype=torch.uint8)
    halves[:, 0, :, :16], halves[:, 1, :, 16:] = 200, 100
    augmented = augment(halves, torch.ones(300), 16, policy="light")
    left, right = augmented[..., 0], augmented[..., -1]
    sure = torch.where((left[:, 0] - left[:, 1]).mean(1) > 0, 1, 0)  # red on the left means not mirrored
    assert 100 < sure.sum() < 200
    lit = torch.tensor([200.0, 100.0]) / 255
    assert torch.allclose(augmented.amax((2, 3))[:, :2].median(0).values, lit, atol=1e-5)
    assert augmented[:, 2].max() == 0
    assert not (left.sum(1) == 0).any()  # no black corners
    assert not (right.sum(1) == 0).any()


def test_light_crops_are_larger():
    torch.manual_seed(0)
    _, halves = random_crops(torch.ones(500), augmentation.LIGHT_CROP_SCALE)
    areas = halves.prod(1)
    assert areas.min() >= 0.34
    assert areas.max() > 0.9


def test_every_image_of_a_batch_has_its_own_numbers():
    same = noise(1).expand(8, -1, -1, -1)
    augmented = augment(same, torch.ones(8), 16)
    assert len({tuple(image.flatten().tolist()) for image in augmented}) == 8


def test_the_stored_images_stay_as_they_are():
    images = noise()
    before = images.clone()
    normalise(augment(images, torch.ones(4), 16))
    assert torch.equal(images, before)


def test_half_of_the_images_are_mirrored(monkeypatch):
    """With the whole image as crop and no affine map, an image bright on the left is bright left or right."""
    count = 400
    bright_left = torch.zeros(count, 3, 16, 16, dtype=torch.uint8)
    bright_left[..., :8] = 255
    whole = torch.zeros(count, 2), torch.ones(count, 2)
    monkeypatch.setattr(augmentation, "random_crops", lambda aspects, scale: whole)
    monkeypatch.setattr(augmentation, "random_affines", lambda n, device: torch.eye(2, 3).expand(n, 2, 3))
    torch.manual_seed(0)
    augmented = augment(bright_left, torch.ones(count), 16)
    mirrored = augmented[..., 8:].mean((1, 2, 3)) > augmented[..., :8].mean((1, 2, 3))
    assert 150 < mirrored.sum() < 250


@pytest.mark.parametrize("aspect", [0.2, 0.75, 1.0, 4 / 3, 6.0])
def test_crops_are_distributed_as_torchvisions(aspect):
    height = 1000
    width = round(aspect * height)
    torch.manual_seed(0)
    image = torch.empty(3, height, width, device="meta")
    drawn = [v2.RandomResizedCrop.make_params(v2.RandomResizedCrop(8), [image]) for _ in range(4000)]
    shares = np.array([[p["width"] / width, p["height"] / height, p["left"] / width, p["top"] / height] for p in drawn])
    centres, halves = random_crops(torch.full((4000,), aspect))
    corners = (centres - halves + 1) / 2
    actual = torch.cat([halves, corners], 1).numpy()
    assert np.abs(actual.mean(0) - shares.mean(0)).max() < 0.02
    assert (
        np.abs(np.quantile(actual, [0.1, 0.5, 0.9], axis=0) - np.quantile(shares, [0.1, 0.5, 0.9], axis=0)).max() < 0.05
    )


@given(aspect=st.floats(0.01, 100), seed=st.integers(0, 2**31))
@settings(deadline=None)
def test_crops_lie_inside_the_image(aspect, seed):
    torch.manual_seed(seed)
    centres, halves = random_crops(torch.full((16,), aspect))
    assert (halves > 0).all()
    assert ((centres.abs() + halves) <= 1 + 1e-5).all()


def test_an_affine_map_equals_that_of_torchvision():
    """The same parameters give torchvision's image, except that torchvision rounds the shift to whole pixels."""
    torch.manual_seed(3)
    side, count = 64, 20
    smooth = torch.rand(count, 3, 8, 8) * 255
    images = torch.nn.functional.interpolate(smooth, (side, side), mode="bilinear").to(torch.uint8)
    torch.manual_seed(7)
    draws = torch.rand(4, count) * 2 - 1
    torch.manual_seed(7)
    whole = torch.zeros(count, 2), torch.ones(count, 2)
    actual, inside = resample(images, *whole, random_affines(count, CPU), side)
    for i in range(count):
        white = torch.cat([images[i] / 255, torch.ones(1, side, side)])  # the fourth channel marks pixels inside
        expected = functional.affine(
            white, angle=15.0 * draws[0, i].item(), shear=[10.0 * draws[1, i].item(), 0.0], scale=1.0,
            translate=[0.1 * side * draws[2, i].item(), 0.1 * side * draws[3, i].item()],
            interpolation=v2.InterpolationMode.BILINEAR,
        )  # fmt: skip
        assert ((expected[3] >= 0.5) ^ inside[i]).float().mean() < 0.02
        both = (expected[3] > 0.999) & inside[i]
        assert both.float().mean() > 0.5
        assert (expected[:3, both] - actual[i][:, both]).abs().mean() < 0.01


def test_pixels_outside_the_crop_are_black():
    white = torch.full((50, 3, 32, 32), 255, dtype=torch.uint8)
    torch.manual_seed(0)
    augmented = augment(white, torch.ones(50), 16)
    black = (augmented == 0).all(1)
    assert 0 < black.float().mean() < 0.3
    assert augmented.amax(1)[~black].min() > 0.5


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return -10 * math.log10(float(((a - b) ** 2).mean()))


@pytest.mark.parametrize("size", [64, 128])
def test_crops_of_the_stored_image_are_near_those_of_the_original(size):
    """For crops of real images, the median PSNR is above 30 dB and the worst above 22 dB."""
    torch.manual_seed(0)
    values = []
    for path in REAL_IMAGES:
        original = read_image(path)
        stored = torch.tensor(Resize(CROP_MARGIN * size)(original)).permute(2, 0, 1).unsqueeze(0)
        for _ in range(30):
            centre, half = random_crops(torch.tensor([original.width / original.height]))
            box = torch.cat([centre - half, centre + half], 1)[0].add(1).div(2).tolist()
            corners = [edge * length for edge, length in zip(box, original.size * 2, strict=True)]
            exact = original.resize((size, size), Image.Resampling.BILINEAR, box=tuple(corners))
            actual, _ = resample(stored, centre, half, torch.eye(2, 3).unsqueeze(0), size)
            values.append(psnr(actual[0].permute(1, 2, 0).numpy(), np.asarray(exact) / 255))
    assert np.median(values) > 30
    assert min(values) > 22


def test_black_and_white_are_normalised_with_mean_and_deviation():
    images = torch.zeros(2, 3, 4, 4, dtype=torch.uint8)
    images[1] = 255
    actual = normalise(scale_to_one(images))
    for value, image in zip((0.0, 1.0), actual, strict=True):
        expected = (value - torch.tensor(IMAGENET_MEAN)) / torch.tensor(IMAGENET_STD)
        assert torch.allclose(image.mean((1, 2)), expected, atol=1e-6)


def test_augmentation_never_waits_for_the_device():
    """Tensors on the meta device have no values, so any attempt to read one raises."""
    images, aspects = noise().to("meta"), torch.ones(4, device="meta")
    assert normalise(augment(images, aspects, 16)).is_meta


@pytest.fixture
def images() -> torch.Tensor:
    images = torch.rand(12, 3, 9, 7, generator=torch.Generator().manual_seed(0))
    images[0, 1] = images[0, 0]  # two equal channels
    images[1] = 0.4  # grey has no hue
    images[2] = 0
    images[3, :, :4] = 1
    return images


@pytest.mark.parametrize(
    ("function", "reference", "factors"),
    [
        (augmentation.adjust_brightness, functional.adjust_brightness, [0.8, 1.0, 1.2]),
        (augmentation.adjust_contrast, functional.adjust_contrast, [0.8, 1.0, 1.2]),
        (augmentation.adjust_saturation, functional.adjust_saturation, [0.8, 1.0, 1.2]),
        (augmentation.adjust_hue, functional.adjust_hue, [-0.5, -0.1, 0.0, 0.03, 0.1, 0.5]),
    ],
)
def test_each_colour_step_equals_that_of_torchvision_with_a_factor_per_image(images, function, reference, factors):
    each = torch.tensor(factors).repeat(len(images))[: len(images)]
    expected = torch.stack([reference(image, factor.item()) for image, factor in zip(images, each, strict=True)])
    assert torch.allclose(function(images.clone(), each.view(-1, 1, 1, 1)), expected, atol=3e-6)


def test_jitter_draws_all_four_in_the_documented_ranges(monkeypatch):
    seen: dict[str, torch.Tensor] = {}
    for name in ("brightness", "contrast", "saturation", "hue"):
        monkeypatch.setattr(augmentation, f"adjust_{name}", lambda x, f, name=name: (seen.update({name: f}), x)[1])
    torch.manual_seed(0)
    augmentation.color_jitter(torch.rand(2000, 3, 1, 1))
    for name, (low, high) in {"brightness": (0.8, 1.2), "contrast": (0.8, 1.2), "saturation": (0.8, 1.2),
                              "hue": (-0.1, 0.1)}.items():  # fmt: skip
        assert low <= seen[name].min() < low + 0.01
        assert high - 0.01 < seen[name].max() <= high


def test_the_order_of_the_steps_changes(monkeypatch):
    orders = set()
    for seed in range(40):
        order: list[str] = []
        for name in ("brightness", "contrast", "saturation", "hue"):
            monkeypatch.setattr(
                augmentation, f"adjust_{name}", lambda x, f, name=name, to=order: (to.append(name), x)[1]
            )
        torch.manual_seed(seed)
        augmentation.color_jitter(torch.rand(1, 3, 1, 1))
        orders.add(tuple(order))
    assert len(orders) > 12
