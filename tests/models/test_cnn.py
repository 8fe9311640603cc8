import itertools

import pytest
import torch
from torch import nn

from inat.config.cnn import ACTIVATIONS, CNNConfig
from inat.errors import ConfigError
from inat.models.cnn import ResidualBlock, build_cnn, summarise


def config(**changes) -> CNNConfig:
    settings = {
        "first_layer_filters": 64, "filter_org": 1, "conv_layers": 5, "activation": "relu", "dropout": 0.2,
        "batch_norm": False, "num_neurons_dense": 256,
    }  # fmt: skip
    return CNNConfig(**settings | changes)


def test_published_parameter_counts():
    rows = {row.name: row for row in summarise(build_cnn(config(), 224, 10), 224)}
    assert rows["conv1"].parameters == 1_792
    assert rows["dense"].parameters == 803_072
    assert rows["output"].parameters == 2_570
    assert rows["conv1"].output_shape == (64, 224, 224)
    assert rows["pool5"].output_shape == (64, 7, 7)


def test_order_of_the_layers():
    names = [name for name, _ in build_cnn(config(conv_layers=2, batch_norm=True), 8, 3).named_children()]
    assert names == ["conv1", "norm1", "act1", "pool1", "conv2", "norm2", "act2", "pool2",
                     "flatten", "dense", "act_dense", "dropout", "output"]  # fmt: skip


@pytest.mark.parametrize(("org", "filters"), [(0.5, [64, 32, 16]), (1, [64, 64, 64]), (2, [64, 128, 256])])
def test_filters_grow_by_the_factor_filter_org(org, filters):
    network = build_cnn(config(conv_layers=3, filter_org=org), 16, 10)
    assert [m.out_channels for m in network if isinstance(m, nn.Conv2d)] == filters


@pytest.mark.parametrize(("activation", "batch_norm"), list(itertools.product(ACTIVATIONS, [True, False])))
def test_every_activation_works_for_any_image_size(activation, batch_norm):
    network = build_cnn(
        config(first_layer_filters=4, conv_layers=3, activation=activation, batch_norm=batch_norm), 20, 7
    )
    logits = network(torch.randn(2, 3, 20, 20))
    assert logits.shape == (2, 7)
    logits.sum().backward()
    assert all(p.grad is not None for p in network.parameters())
    kinds = {nn.ReLU: "relu", nn.GELU: "gelu", nn.SiLU: "silu", nn.Mish: "mish"}
    assert {kinds[type(m)] for m in network if type(m) in kinds} == {activation}


MODERN = {"block": "residual", "pooling": "average", "batch_norm": True, "filter_org": 2, "num_neurons_dense": 0}


def test_a_residual_network_with_average_pooling():
    network = build_cnn(config(conv_layers=4, first_layer_filters=24, **MODERN), 64, 10)
    assert [name for name, _ in network.named_children()] == [
        "conv1", "pool1", "norm1", "act1", "block2", "block3", "block4", "average", "flatten", "dropout", "output",
    ]  # fmt: skip
    rows = {row.name: row for row in summarise(network, 64)}
    assert [rows[f"block{i}"].output_shape for i in (2, 3, 4)] == [(48, 16, 16), (96, 8, 8), (192, 4, 4)]
    assert rows["block2"].parameters == 9 * 24 * 48 + 9 * 48 * 48 + 2 * 2 * 48  # two convolutions, two norms
    assert rows["output"].parameters == 193 * 10
    assert len([m for m in network.modules() if isinstance(m, nn.Conv2d)]) == 1 + 3 * 2


@pytest.mark.parametrize(
    ("block", "pooling"), list(itertools.product(["plain", "residual"], ["flatten", "average", "maximum"]))
)
@pytest.mark.parametrize("side", [8, 11, 20])
def test_every_block_works_with_every_head_at_any_size(block, pooling, side):
    network = build_cnn(config(conv_layers=3, first_layer_filters=4, block=block, pooling=pooling), side, 7)
    logits = network(torch.randn(2, 3, side, side))
    assert logits.shape == (2, 7)
    logits.sum().backward()
    assert all(p.grad is not None for p in network.parameters())
    assert any(name == "dense" for name, _ in network.named_children()) is (pooling == "flatten")


def test_too_many_pools_are_refused_with_the_numbers():
    with pytest.raises(ConfigError, match="conv_layers=5 halves the image 5 times and needs at least 32 px"):
        build_cnn(config(), 31, 10)
    assert build_cnn(config(), 32, 10)(torch.zeros(1, 3, 32, 32)).shape == (1, 10)


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
