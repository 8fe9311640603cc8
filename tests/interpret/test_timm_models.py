"""The figures of timm's models: which layers they look at, and that Grad-CAM finds the place that matters."""

import pytest
import torch

from inat.interpret.layers import convolutions, grad_cam_layer, guided_backprop_layer
from inat.interpret.saliency import grad_cam, guided_gradients, random_neurons
from inat.models.backbones import build_backbone

pytestmark = pytest.mark.usefixtures("one_thread")
LAYERS = {  # of guided back-propagation and of Grad-CAM, and the shape of their maps at 64 px
    "test_vit": ("blocks_5.blocks.5.norm1", "blocks_5.blocks.5.norm1", (4, 4)),
    "test_vit3": ("blocks_8.blocks.8.norm1", "blocks_8.blocks.8.norm1", (4, 4)),
    "test_efficientnet": ("blocks_4.conv_head", "blocks_4.bn2", (2, 2)),
    "test_convnext": ("stages_3.stages.3.blocks.1.conv_dw", "stages_3.norm_pre", (2, 2)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_the_last_layers_and_their_figures(name):
    torch.manual_seed(0)
    net, image = build_backbone(f"timm:{name}", 3, image_size=64).eval(), torch.randn(3, 64, 64)
    guided, cam = guided_backprop_layer(net, image[None]), grad_cam_layer(net, image[None])
    assert (guided.name, cam.name) == LAYERS[name][:2]
    outputs = []
    handle = guided.module.register_forward_hook(lambda module, given, output: outputs.append(output))
    net(image[None])
    handle.remove()
    maps = guided.maps(outputs[0])[0]
    assert maps.shape[1:] == LAYERS[name][2]
    assert grad_cam(net, image, 0).shape == (64, 64)
    gradients = guided_gradients(net, image, guided, random_neurons(maps.shape, 2, 0))
    assert gradients.shape == (2, 3, 64, 64)
    assert gradients.abs().sum() > 0


def test_convolutions_that_see_one_pixel_are_left_out():
    net = build_backbone("timm:mobilenetv3_small_050", 3, image_size=64).eval()
    found = convolutions(net, torch.zeros(1, 3, 64, 64))
    assert not [name for name in found if ".se." in name or name.endswith("conv_head")]
    assert len(found) > 20
