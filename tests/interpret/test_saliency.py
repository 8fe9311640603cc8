import pytest
import torch
from captum.attr import LayerGradCam
from torch import nn

from inat.interpret.layers import grad_cam_layer
from inat.interpret.saliency import Neuron, active_neurons, grad_cam, integrated_gradients, occlusion
from tests.interpret.nets import BACKBONES, Failing, backbone, cnn, hooks

SLOW = {"inception_v3", "vgg16", "efficientnet_v2_s", "googlenet"}


def test_grad_cam_of_a_network_computed_by_hand():
    """With average pooling, the weight of a map is the weight of its mean, divided by its pixels: here 4."""
    net = nn.Sequential(
        nn.Conv2d(3, 2, 1, bias=False), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 2)
    ).eval()
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([[1.0, 0, 0], [0, 1.0, 0]]).view(2, 3, 1, 1))
        net[4].weight.copy_(torch.tensor([[8.0, -4.0], [-8.0, 4.0]]))
    image = torch.tensor([[[1.0, 2], [3, -1]], [[4.0, 0], [6, 5]], [[9.0, 9], [9, 9]]])
    # relu(red * 8 / 4 - green * 4 / 4) of the maps, which are relu(red) and relu(green)
    assert grad_cam(net, image, 0).tolist() == [[0, 4], [0, 0]]
    assert grad_cam(net, image, 1).tolist() == [[2, 0], [0, 5]]
    assert hooks(net) == 0


def test_grad_cam_of_a_cnn_equals_captums():
    net, image = cnn("gelu"), torch.randn(3, 16, 16)
    reference = LayerGradCam(net, net.act2).attribute(image.unsqueeze(0), 1, relu_attributions=True)
    heat = grad_cam(net, image, 1)
    assert heat.shape == (16, 16)
    assert float(heat.max()) > 0
    expected = nn.functional.interpolate(reference, (16, 16), mode="bilinear")[0, 0]
    torch.testing.assert_close(heat, expected.detach())


def test_grad_cam_of_a_vision_transformer_ignores_the_class_token():
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
def test_every_backbone_has_a_grad_cam_and_is_left_unchanged(name):
    net, image = backbone(name)
    maps = [grad_cam(net, image, target) for target in range(3)]
    assert all(heat.shape == image.shape[1:] and heat.isfinite().all() and heat.min() >= 0 for heat in maps)
    assert any(float(heat.max()) > 0 for heat in maps)
    assert hooks(net) == 0
    assert not any(parameter.grad is not None for parameter in net.parameters())


def test_hooks_are_removed_if_the_network_fails():
    net, image = cnn(), torch.randn(3, 16, 16)
    layer = grad_cam_layer(net, image.unsqueeze(0))
    net.dropout = Failing()
    with pytest.raises(ValueError, match="on purpose"):
        grad_cam(net, image, 0, layer)
    vit, patches = backbone("vit_b_16")
    vit.head = Failing()
    with pytest.raises(ValueError, match="on purpose"):
        grad_cam(vit, patches, 0)
    assert hooks(net) == hooks(vit) == 0


def test_integrated_gradients_of_a_linear_network_are_weight_times_pixel():
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 2)).eval()
    image = torch.randn(3, 2, 2)
    expected = (net[1].weight[1].view(3, 2, 2) * image).sum(0)
    torch.testing.assert_close(integrated_gradients(net, image, 1), expected.detach(), rtol=1e-4, atol=1e-5)


def test_integrated_gradients_add_up_to_the_change_of_the_logit():
    net, image = cnn("gelu"), torch.randn(3, 16, 16)
    with torch.no_grad():
        change = float(net(image[None])[0, 2] - net(torch.zeros(1, 3, 16, 16))[0, 2])
    assert float(integrated_gradients(net, image, 2).sum()) == pytest.approx(change, rel=0.05, abs=0.01)
    assert hooks(net) == 0
    assert not any(parameter.grad is not None for parameter in net.parameters())


def test_occlusion_finds_the_square_on_which_the_confidence_rests():
    class Corner(nn.Module):
        def forward(self, images):
            return torch.stack([images[:, :, :2, :2].sum((1, 2, 3)), torch.zeros(len(images))], 1)

    fall = occlusion(Corner(), torch.ones(3, 12, 12), 0)  # squares of 2 px that move by 1 px
    covered = torch.sigmoid(torch.tensor(12.0)) - torch.sigmoid(torch.tensor([0.0, 6.0, 9.0]))  # by 4, 2 and 1 pixels
    assert float(fall[0, 0]) == pytest.approx(float(covered[0]))
    assert float(fall[0, 1]) == pytest.approx(float((covered[0] + covered[1]) / 2))
    assert fall.shape == (12, 12)
    assert torch.count_nonzero(fall[3:]) == torch.count_nonzero(fall[:, 3:]) == 0


def test_the_most_active_neurons_are_the_peaks_of_the_maps_with_the_largest_values():
    maps = torch.zeros(4, 2, 3)
    maps[1, 1, 2], maps[1, 1, 1], maps[3, 0, 1], maps[0, 0, 0] = 5, 4, 7, -9
    assert active_neurons(maps, 2) == [Neuron(3, 0, 1), Neuron(1, 1, 2)]
    assert len(active_neurons(maps, 4)) == 4
    assert active_neurons(maps, 5)[:3] == [Neuron(3, 0, 1), Neuron(1, 1, 2), Neuron(1, 1, 1)]  # fewer maps than neurons
    assert len(active_neurons(maps[:, :1, :1], 10)) == 4
