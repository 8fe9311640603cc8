import io

import pytest
import torch
from torch import nn

from inat.config.cnn import ACTIVATIONS
from inat.config.small_resnet import SmallResNetConfig
from inat.config.trial import TrialConfig
from inat.errors import ConfigError
from inat.interpret.layers import convolutions, grad_cam_layer
from inat.models.cnn import ConvolutionalNetwork, summarise
from inat.models.small_resnet import ResidualStage, build_small_resnet
from inat.tuning.network_demand import demand_of
from inat.tuning.network_timing import size_of


def network(side: int = 16, classes: int = 3, **changes) -> ConvolutionalNetwork:
    settings = {"width": 4, "stem_filters": 4, "activation": "relu"}
    return build_small_resnet(SmallResNetConfig(**settings | changes), side, classes)


def test_order_of_the_layers_and_their_shapes():
    rows = {row.name: row.output_shape for row in summarise(network(32, width=8), 32)}
    assert rows == {
        "stem_conv": (4, 32, 32), "stem_norm": (4, 32, 32), "stem_act": (4, 32, 32), "stage1": (8, 16, 16),
        "stage2": (16, 8, 8), "stage3": (32, 4, 4), "maximum": (32, 1, 1), "flatten": (32,), "dropout": (32,),
        "output": (3,),
    }  # fmt: skip


@pytest.mark.parametrize(("stride", "side"), [(1, 19), (2, 10), (4, 5)])
def test_the_stem_sees_every_pixel(stride, side):
    net = network(19, stem_stride=stride)
    images = torch.zeros(1, 3, 19, 19, requires_grad=True)
    maps = net.stem_conv(images)
    assert maps.shape[2:] == (side, side)
    maps.abs().sum().backward()
    maps = net.stem_conv(images + 1)
    (gradient,) = torch.autograd.grad(maps.sum(), images)
    assert (gradient != 0).any(1).all()


def test_only_the_output_and_the_norms_have_biases():
    layers = [module for module in network().modules() if isinstance(module, nn.Conv2d)]
    assert len(layers) == 1 + 2 * 2
    assert all(layer.bias is None for layer in layers)


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_all_convolutions_of_a_stage_but_the_first_are_beside_a_shortcut(depth):
    stage = ResidualStage(4, 6, depth, nn.ReLU).eval()
    images = torch.randn(2, 4, 8, 8)
    first = stage.act1(stage.norm1(stage.pool(stage.conv1(images))))
    assert sum(isinstance(module, nn.Conv2d) for module in stage.modules()) == depth
    if depth == 1:
        assert torch.equal(stage(images), first)
        return
    nn.init.zeros_(stage.branch[0].weight)
    for module in stage.branch:
        if isinstance(module, nn.BatchNorm2d):
            nn.init.zeros_(module.bias)
    assert torch.allclose(stage(images), first)


@pytest.mark.parametrize("pooling", ["average", "maximum"])
def test_every_activation_trains_in_channels_last(pooling):
    images = torch.randn(4, 3, 16, 16).contiguous(memory_format=torch.channels_last)
    for activation in ACTIVATIONS:
        net = network(pooling=pooling, activation=activation, depth=3).to(memory_format=torch.channels_last)
        seen = []
        net.stage2.norm1.register_full_backward_hook(lambda module, given, got, seen=seen: seen.append(got[0]))
        net(images).sum().backward()
        assert all(parameter.grad is not None for parameter in net.parameters())
        assert seen[0].is_contiguous(memory_format=torch.channels_last)


def test_images_without_a_last_pixel_are_refused():
    with pytest.raises(ConfigError, match="at least 4 px"):
        network(3)


def test_the_network_is_sized_without_memory():
    params = {"width": 8, "stem_filters": 4, "activation": "relu", "data": "digits", "image_size": 16,
              "learning_rate": 0.01, "batch_size": 64, "max_epochs": 2}  # fmt: skip
    config = TrialConfig.from_params(params)
    size = size_of(config, 3)
    whole = network(width=8)
    assert size.parameters == sum(parameter.numel() for parameter in whole.parameters())
    assert size_of(TrialConfig.from_params(params | {"stem_stride": 2}), 3).operations < size.operations / 2
    demand = demand_of(config, 3)
    assert demand.parameters == size.parameters
    assert demand.operations >= size.operations


def test_the_figures_find_its_layers():
    net, images = network().eval(), torch.zeros(1, 3, 16, 16)
    names = ["stem_conv", "stage1.conv1", "stage1.branch.conv2", "stage2.conv1", "stage2.branch.conv2"]
    assert list(convolutions(net, images)) == names
    assert grad_cam_layer(net, images).name == "stage2"


@pytest.mark.parametrize("pooling", ["average", "maximum"])
def test_it_can_be_exported(pooling):
    net = network(pooling=pooling).eval()
    images = torch.randn(2, 3, 16, 16)
    program = torch.export.export(net, (images,))
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    assert torch.allclose(program.module()(images), net(images), atol=1e-6)
