import pytest
import torch
from torch import nn

from inat.models.residual import ResidualBlock


@pytest.mark.parametrize(("side", "half"), [(8, 4), (5, 3), (1, 1)])
@pytest.mark.parametrize("batch_norm", [True, False])
def test_a_block_halves_the_side(side, half, batch_norm):
    block = ResidualBlock(3, 6, nn.GELU, batch_norm=batch_norm).eval()
    assert block(torch.randn(2, 3, side, side)).shape == (2, 6, half, half)
    assert any(isinstance(module, nn.BatchNorm2d) for module in block.modules()) is batch_norm


def test_a_new_block_hands_on_its_shortcut():
    block = ResidualBlock(3, 3, nn.ReLU, batch_norm=True).eval()
    with torch.no_grad():
        block.shortcut[1].weight.copy_(torch.eye(3).view(3, 3, 1, 1))
    images = torch.rand(2, 3, 4, 4)
    assert torch.allclose(block(images), nn.functional.avg_pool2d(images, 2), atol=1e-4)


def test_a_trained_block_adds_what_its_convolutions_make():
    block = ResidualBlock(2, 2, nn.ReLU, batch_norm=True).eval()
    images = torch.rand(1, 2, 4, 4)
    without = block(images)
    with torch.no_grad():
        block.norm2.weight.fill_(1.0)
        block.norm2.bias.fill_(100.0)
    added = block.norm2(block.conv2(block.act1(block.norm1(block.conv1(images)))))
    assert torch.allclose(block(images), block.shortcut(images) + added)
    assert (block(images) > without + 50).all()


def test_every_convolution_learns():
    block = ResidualBlock(3, 4, nn.SiLU, batch_norm=False)
    block(torch.randn(2, 3, 8, 8)).sum().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in block.parameters())
