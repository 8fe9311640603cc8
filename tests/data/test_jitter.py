import pytest
import torch
from torchvision.transforms.v2 import functional

from inat.data import jitter


@pytest.fixture
def images() -> torch.Tensor:
    pictures = torch.rand(12, 3, 9, 7, generator=torch.Generator().manual_seed(0))
    pictures[0, 1] = pictures[0, 0]  # two channels alike
    pictures[1] = 0.4  # grey has no hue
    pictures[2] = 0
    pictures[3, :, :4] = 1
    return pictures


@pytest.mark.parametrize(
    ("ours", "theirs", "factors"),
    [
        (jitter.adjust_brightness, functional.adjust_brightness, [0.8, 1.0, 1.2]),
        (jitter.adjust_contrast, functional.adjust_contrast, [0.8, 1.0, 1.2]),
        (jitter.adjust_saturation, functional.adjust_saturation, [0.8, 1.0, 1.2]),
        (jitter.adjust_hue, functional.adjust_hue, [-0.5, -0.1, 0.0, 0.03, 0.1, 0.5]),
    ],
)
def test_each_step_equals_torchvisions_with_a_factor_for_each_image(images, ours, theirs, factors):
    each = torch.tensor(factors).repeat(len(images))[: len(images)]
    expected = torch.stack([theirs(image, factor.item()) for image, factor in zip(images, each, strict=True)])
    assert torch.allclose(ours(images.clone(), each.view(-1, 1, 1, 1)), expected, atol=3e-6)


def test_jitter_draws_all_four_in_the_documented_ranges(monkeypatch):
    seen: dict[str, torch.Tensor] = {}
    for name in ("brightness", "contrast", "saturation", "hue"):
        monkeypatch.setattr(jitter, f"adjust_{name}", lambda x, f, name=name: (seen.update({name: f}), x)[1])
    torch.manual_seed(0)
    jitter.color_jitter(torch.rand(2000, 3, 1, 1))
    for name, (low, high) in {"brightness": (0.8, 1.2), "contrast": (0.8, 1.2), "saturation": (0.8, 1.2),
                              "hue": (-0.1, 0.1)}.items():  # fmt: skip
        assert low <= seen[name].min() < low + 0.01
        assert high - 0.01 < seen[name].max() <= high


def test_the_order_of_the_steps_changes(monkeypatch):
    orders = set()
    for seed in range(40):
        order: list[str] = []
        for name in ("brightness", "contrast", "saturation", "hue"):
            monkeypatch.setattr(jitter, f"adjust_{name}", lambda x, f, name=name, to=order: (to.append(name), x)[1])
        torch.manual_seed(seed)
        jitter.color_jitter(torch.rand(1, 3, 1, 1))
        orders.add(tuple(order))
    assert len(orders) > 12
