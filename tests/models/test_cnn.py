import copy
import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
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
    assert {name for m in network for kind, name in kinds.items() if isinstance(m, kind)} == {activation}


def step(network, forward, images, dtype):
    """Logits, all gradients and the state after one training step with ``forward``."""
    torch.manual_seed(1)  # of dropout
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
        logits = forward(images).float()
    nn.functional.cross_entropy(logits, torch.arange(len(images)) % logits.shape[1]).backward()
    gradients = [parameter.grad for parameter in network.parameters()]
    return [logits, *gradients, *network.state_dict().values()]


@pytest.mark.parametrize(("dtype", "side"), [(torch.float32, 11), (torch.bfloat16, 16)])
@pytest.mark.parametrize(("activation", "batch_norm"), list(itertools.product(ACTIVATIONS, [True, False])))
def test_a_training_step_has_the_bits_of_the_published_order(activation, batch_norm, dtype, side):
    torch.manual_seed(0)
    network = build_cnn(
        config(first_layer_filters=8, conv_layers=2, activation=activation, batch_norm=batch_norm), side, 5
    )
    network = network.to(memory_format=torch.channels_last).train()
    published = [nn.Mish() if isinstance(layer, nn.Mish) else layer for layer in copy.deepcopy(network)]
    images = torch.randn(6, 3, side, side).contiguous(memory_format=torch.channels_last)
    before = step(nn.Sequential(*published), nn.Sequential(*published), images, dtype)
    after = step(network, network, images, dtype)
    assert len(before) == len(after)
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def orders(network, images):
    """The names of the activations and pools in the order in which ``images`` pass them."""
    seen = []
    for name, layer in network.named_children():
        layer.register_forward_hook(lambda *_, name=name: seen.append(name))
    network(images)
    return [name for name in seen if name.startswith(("act", "pool"))]


def test_training_pools_before_relu_only_and_evaluation_as_published():
    images = torch.randn(2, 3, 8, 8)
    for activation in ACTIVATIONS:
        network = build_cnn(config(conv_layers=2, activation=activation), 8, 3)
        published = ["act1", "pool1", "act2", "pool2", "act_dense"]
        pooled_first = ["pool1", "act1", "pool2", "act2", "act_dense"]
        assert orders(network.train(), images) == (pooled_first if activation == "relu" else published)
        assert orders(build_cnn(config(conv_layers=2, activation=activation), 8, 3).eval(), images) == published


# Few different values, so that many windows have ties; all may be negative, and training may diverge.
VALUES = st.sampled_from([-2.0, -1.0, -0.0, 0.0, 1.0, 2.0, math.inf, -math.inf, math.nan])


@given(
    st.lists(VALUES, min_size=24, max_size=24),
    st.lists(VALUES, min_size=6, max_size=6),
    st.sampled_from([torch.float32, torch.bfloat16]),
    st.sampled_from([torch.contiguous_format, torch.channels_last]),
)
def test_a_max_pool_before_relu_has_the_values_and_gradients_of_one_after(values, gradients, dtype, layout):
    results = []
    for layers in ([nn.ReLU(), nn.MaxPool2d(2)], [nn.MaxPool2d(2), nn.ReLU()]):
        flow = torch.tensor(values, dtype=dtype).view(1, 1, 4, 6).contiguous(memory_format=layout).requires_grad_()
        output = nn.Sequential(*layers)(flow)
        output.backward(torch.tensor(gradients, dtype=dtype).view(1, 1, 2, 3))
        results.append((output, flow.grad))
    for before, after in zip(*results, strict=True):
        assert torch.equal(before.nan_to_num(nan=7.0), after.nan_to_num(nan=7.0))


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
