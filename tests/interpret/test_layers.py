import pytest
import torch
from torch import nn

from inat.config.small_resnet import SmallResNetConfig
from inat.errors import ConfigError
from inat.interpret.layers import (
    Layer,
    activated_layer,
    capture_outputs,
    convolutions,
    grad_cam_layer,
    guided_backprop_layer,
    named_layer,
)
from inat.models.small_resnet import build_small_resnet
from tests.interpret.nets import BACKBONES, Failing, backbone, cnn, hooks

LAST = {  # the layers of guided back-propagation and of Grad-CAM
    "mobilenet_v2": ("features18.block.0", "features18.block"),
    "resnet50": ("layer4.block.2.conv3", "layer4.block"),
    "vit_b_16": ("encoder_layer_11.block.ln_1", "encoder_layer_11.block.ln_1"),
    "googlenet": ("inception5b.block.branch4.1.conv", "inception5b.block"),
    "inception_v3": ("Mixed_7c.block.branch_pool.conv", "Mixed_7c.block"),
    "vgg16": ("block5.4", "block5.5"),
    "efficientnet_v2_s": ("features7.block.0", "features7.block"),
}
SLOW = {"inception_v3", "vgg16", "efficientnet_v2_s", "googlenet"}


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] if n in SLOW else []) for n in BACKBONES])
def test_the_last_layers_of_each_backbone(name):
    net, image = backbone(name)
    images = image.unsqueeze(0)
    assert (guided_backprop_layer(net, images).name, grad_cam_layer(net, images).name) == LAST[name]
    assert hooks(net) == 0


def test_the_last_layers_of_a_cnn_are_its_last_convolution_and_activation():
    net, images = cnn(), torch.randn(1, 3, 16, 16)
    assert list(convolutions(net, images)) == ["conv1", "conv2"]
    assert guided_backprop_layer(net, images) == Layer("conv2", net.conv2)
    assert grad_cam_layer(net, images) == Layer("act2", net.act2)


@pytest.mark.parametrize(("depth", "convolution"), [(1, "stage2.conv1"), (2, "stage2.branch.conv2")])
def test_the_maps_of_a_small_residual_network_are_those_after_norm_and_activation(depth, convolution):
    net = build_small_resnet(SmallResNetConfig(width=4, stem_filters=4, depth=depth, activation="relu"), 8, 3).eval()
    images = torch.randn(1, 3, 8, 8)
    assert guided_backprop_layer(net, images).name == convolution
    assert grad_cam_layer(net, images).name == "stage2"


def test_a_block_of_one_pixel_has_no_maps():
    net = nn.Sequential(nn.Sequential(nn.Conv2d(3, 3, 3), nn.AdaptiveAvgPool2d(1)), nn.Flatten())
    assert grad_cam_layer(net, torch.randn(1, 3, 8, 8)).name == "0.0"


def test_convolutions_are_in_order_of_execution_and_unused_ones_are_left_out():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.second, self.unused, self.first = (nn.Conv2d(3, 3, 1) for _ in range(3))

        def forward(self, images):
            return self.second(self.first(images))

    assert list(convolutions(Net(), torch.zeros(1, 3, 2, 2))) == ["first", "second"]


def test_convolutions_of_squeeze_and_excitation_are_left_out():
    net, image = backbone("efficientnet_v2_s")
    found = convolutions(net, image.unsqueeze(0))
    assert "features4.0.block.1.0" in found
    assert not any(".fc" in name for name in found)


def test_a_network_without_convolutions_is_refused():
    with pytest.raises(ConfigError, match="no convolution layer"):
        guided_backprop_layer(nn.Flatten(), torch.zeros(1, 3, 2, 2))


def test_tokens_become_maps_in_order_of_patches():
    tokens = torch.arange(2 * 5 * 3).reshape(2, 5, 3)
    maps = Layer("x", nn.Identity(), tokens=True).maps(tokens)
    assert maps.shape == (2, 3, 2, 2)
    assert torch.equal(maps[1, :, 0, 1], tokens[1, 2])
    assert torch.equal(maps[1, :, 1, 0], tokens[1, 3])


def test_hooks_are_removed_if_the_network_fails():
    net = nn.Sequential(nn.Conv2d(3, 3, 1), Failing())
    before = []

    def fail():
        with capture_outputs({"0": net[0]}, lambda output: output):
            before.append(hooks(net))
            net(torch.zeros(1, 3, 2, 2))

    with pytest.raises(ValueError, match="on purpose"):
        fail()
    assert (before, hooks(net)) == ([1], 0)


@pytest.mark.parametrize(("name", "activated"), [("conv1", "act1"), ("conv2", "act2")])
def test_grad_cam_of_a_named_convolution_is_behind_its_norm_and_activation(name, activated):
    net, images = cnn(), torch.randn(1, 3, 16, 16)
    layer = named_layer(net, images, name)
    assert layer == Layer(name, getattr(net, name))
    assert activated_layer(net, images, layer) == Layer(activated, getattr(net, activated))
    assert hooks(net) == 0


def test_the_layers_of_a_resnet_can_be_named():
    net, image = backbone("resnet50")
    images = image.unsqueeze(0)
    first = named_layer(net, images, "layer3.1.conv2")
    assert activated_layer(net, images, first).name == "layer3.1.bn2"
    last = guided_backprop_layer(net, images)
    assert activated_layer(net, images, last) == grad_cam_layer(net, images)


def test_an_unknown_layer_is_an_error_that_names_the_known_ones():
    with pytest.raises(ConfigError, match=r"^unknown convolution layer 'act1'; choose from conv1, conv2$"):
        named_layer(cnn(), torch.randn(1, 3, 16, 16), "act1")
    net, image = backbone("vit_b_16")
    tokens = "encoder_layer_11.block.ln_1"
    assert named_layer(net, image.unsqueeze(0), tokens).tokens
    with pytest.raises(ConfigError, match=rf"; choose from \S+, {tokens}$"):
        named_layer(net, image.unsqueeze(0), "head")
