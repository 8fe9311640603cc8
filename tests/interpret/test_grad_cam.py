import pytest
import torch
from captum.attr import LayerGradCam
from torch import nn

from inat.interpret.grad_cam import grad_cam
from inat.interpret.layers import last_maps
from tests.interpret.nets import BACKBONES, Failing, backbone, cnn, hooks

SLOW = {"inception_v3", "vgg16", "efficientnet_v2_s", "googlenet"}


def test_a_network_by_hand():
    """With average pooling the weight of a map is that of its mean over its pixels, here 4."""
    net = nn.Sequential(
        nn.Conv2d(3, 2, 1, bias=False), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 2)
    ).eval()
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([[1.0, 0, 0], [0, 1.0, 0]]).view(2, 3, 1, 1))
        net[4].weight.copy_(torch.tensor([[8.0, -4.0], [-8.0, 4.0]]))
    image = torch.tensor([[[1.0, 2], [3, -1]], [[4.0, 0], [6, 5]], [[9.0, 9], [9, 9]]])
    # red * 8 / 4 - green * 4 / 4, of relu's output, above zero
    assert grad_cam(net, image, 0).tolist() == [[0, 4], [0, 0]]
    assert grad_cam(net, image, 1).tolist() == [[2, 0], [0, 5]]
    assert hooks(net) == 0


def test_it_is_captums_for_a_cnn():
    net, image = cnn("gelu"), torch.randn(3, 16, 16)
    reference = LayerGradCam(net, net.act2).attribute(image.unsqueeze(0), 1, relu_attributions=True)
    heat = grad_cam(net, image, 1)
    assert heat.shape == (16, 16)
    assert float(heat.max()) > 0
    expected = nn.functional.interpolate(reference, (16, 16), mode="bilinear")[0, 0]
    torch.testing.assert_close(heat, expected.detach())


def test_tokens_of_a_vision_transformer_are_weighed_without_the_class_token():
    net, image = backbone("vit_b_16")
    stages = dict(net.named_children())
    *before, last, head = stages.values()
    with torch.no_grad():
        flow = image.unsqueeze(0)
        for stage in before:
            flow = stage(flow)
        normed = last.block.ln_1(flow)
    normed.requires_grad_()
    attended, _ = last.block.self_attention(normed, normed, normed, need_weights=False)
    middle = flow + attended
    head(last.token(last.norm(middle + last.block.mlp(last.block.ln_2(middle)))))[0, 2].backward()
    weights = normed.grad[0, 1:].mean(0)
    coarse = (normed.detach()[0, 1:] @ weights).relu().view(1, 1, 3, 3)
    expected = nn.functional.interpolate(coarse, image.shape[1:], mode="bilinear")[0, 0]
    torch.testing.assert_close(grad_cam(net, image, 2), expected, rtol=1e-3, atol=1e-4 * float(expected.max()))


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] if n in SLOW else []) for n in BACKBONES])
def test_every_backbone_has_a_map_and_is_left_as_it_was(name):
    net, image = backbone(name)
    maps = [grad_cam(net, image, target) for target in range(3)]
    assert all(heat.shape == image.shape[1:] and heat.isfinite().all() and heat.min() >= 0 for heat in maps)
    assert any(float(heat.max()) > 0 for heat in maps)
    assert hooks(net) == 0
    assert not any(parameter.grad is not None for parameter in net.parameters())


def test_hooks_go_when_the_network_fails():
    net, image = cnn(), torch.randn(3, 16, 16)
    layer = last_maps(net, image.unsqueeze(0))
    net.dropout = Failing()
    with pytest.raises(ValueError, match="on purpose"):
        grad_cam(net, image, 0, layer)
    vit, patches = backbone("vit_b_16")
    vit.head = Failing()
    with pytest.raises(ValueError, match="on purpose"):
        grad_cam(vit, patches, 0)
    assert hooks(net) == hooks(vit) == 0
