"""The layout of gradients below average pools, and what it may change: nothing but rounding."""

import pytest
import torch
from torch import nn

from inat.config.backbones import BackboneConfig
from inat.models.factory import load_pretrained, trainable_stages
from inat.models.pool_layout import keep_layout

LAST = torch.channels_last


class Layouts(nn.Module):
    """Passes its input on, and records whether gradients arrive with channels last."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, images):
        flow = images.clone(memory_format=torch.preserve_format)
        flow.register_hook(lambda gradient: self.seen.append(gradient.is_contiguous(memory_format=LAST)))
        return flow


def gradient(network: nn.Module, images: torch.Tensor) -> torch.Tensor:
    images = images.detach().requires_grad_()
    network(images).square().sum().backward()
    return images.grad


@pytest.mark.parametrize("size", [1, 3])
def test_gradients_of_channels_last_features_are_channels_last_and_have_the_same_bits(size):
    watch = Layouts()
    network = nn.Sequential(watch, nn.ReLU(), nn.AdaptiveAvgPool2d(size), nn.Flatten())
    images = torch.rand(2, 5, 6, 6, generator=torch.Generator().manual_seed(0)).contiguous(memory_format=LAST)
    expected = gradient(network, images)
    watch.seen.clear()
    keep_layout(network)
    assert torch.equal(gradient(network, images), expected)
    assert watch.seen == [True]


def test_other_layouts_stay_and_no_hook_is_left_on_the_images():
    watch = Layouts()
    network = nn.Sequential(watch, nn.ReLU(), nn.AdaptiveAvgPool2d(1))
    keep_layout(network)
    gradient(network, torch.rand(2, 5, 6, 6))
    assert watch.seen == [False]
    images = torch.rand(2, 5, 6, 6).contiguous(memory_format=LAST).requires_grad_()
    keep_layout(pool := nn.AdaptiveAvgPool2d(1))
    pool(images).sum().backward()
    assert not images._backward_hooks
    with torch.no_grad():
        assert pool(images).shape == (2, 5, 1, 1)


def steps(rules: int) -> tuple[list[float], torch.Tensor]:
    """Losses of three training steps of the last two stages of mobilenet_v2, and a gradient of the first one."""
    model = BackboneConfig(
        backbone="mobilenet_v2", strategy="freeze_partial", k_layers=2, weights="none", feature_rules=rules
    )
    shared = load_pretrained(model, 64, 3)
    torch.manual_seed(0)
    suffix = trainable_stages(shared).to(memory_format=LAST)
    optimizer, losses = torch.optim.SGD(suffix.parameters(), lr=0.01), []
    features = torch.rand(8, 160, 2, 2).contiguous(memory_format=LAST)
    gradients = []
    for _ in range(3):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(suffix(features), torch.arange(8) % 3)
        loss.backward()
        gradients.append(next(suffix.parameters()).grad.clone())
        optimizer.step()
        losses.append(loss.item())
    assert not any(module._forward_pre_hooks for module in shared.modules())  # other trials share its modules
    return losses, gradients[0]


def test_a_backbone_trains_the_same_up_to_rounding_and_earlier_studies_train_as_before(monkeypatch):
    (before, old), (after, new) = steps(2), steps(3)
    assert after == pytest.approx(before, rel=1e-4)
    assert torch.allclose(new, old, rtol=1e-3, atol=1e-6 * float(old.abs().max()) + 1e-8)
    asked = []
    monkeypatch.setattr("inat.models.factory.keep_layout", asked.append)
    steps(2)
    assert not asked
    steps(3)
    assert len(asked) == 1
