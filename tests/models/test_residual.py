import pytest
import torch
from torch import nn

from inat.models.residual import ResidualBlock


@pytest.mark.parametrize(("side", "half"), [(8, 4), (5, 2), (2, 1)])
@pytest.mark.parametrize("batch_norm", [True, False])
def test_a_block_halves_the_side(side, half, batch_norm):
    block = ResidualBlock(3, 6, nn.GELU, batch_norm=batch_norm).eval()
    assert block(torch.randn(2, 3, side, side)).shape == (2, 6, half, half)
    assert any(isinstance(module, nn.BatchNorm2d) for module in block.modules()) is batch_norm


def test_the_second_convolution_is_added_to_the_first():
    block = ResidualBlock(1, 1, nn.ReLU, batch_norm=False)
    with torch.no_grad():
        for convolution, factor in ((block.conv1, 2.0), (block.conv2, 10.0)):
            convolution.bias.zero_()
            convolution.weight.zero_()
            convolution.weight[0, 0, 1, 1] = factor
    images = torch.rand(2, 1, 4, 4)
    pooled = nn.functional.max_pool2d(images, 2)
    assert torch.allclose(block(images), 2 * pooled + 20 * pooled)


def test_every_convolution_learns():
    block = ResidualBlock(3, 4, nn.SiLU, batch_norm=False)
    block(torch.randn(2, 3, 8, 8)).sum().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in block.parameters())
