import copy
import math
import warnings

import pytest
import torch
from captum.attr import NeuronGradient, NeuronGuidedBackprop
from torch import nn
from torch.nn import functional
from torchvision.models.googlenet import BasicConv2d

from inat.interpret.layers import Layer, guided_backprop_layer
from inat.interpret.saliency import GuidedActivations, guided_gradients, random_neurons
from inat.models.cnn import ACTIVATION_LAYERS
from tests.interpret.nets import BACKBONES, Failing, backbone, cnn, hooks

SLOW = {"inception_v3", "vgg16", "efficientnet_v2_s", "googlenet"}
ALL_BACKBONES = [pytest.param(n, marks=[pytest.mark.slow] if n in SLOW else []) for n in BACKBONES]


def by_captum(net, layer, image, neurons):
    guided = NeuronGuidedBackprop(net, layer.module)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.cat([guided.attribute(image.unsqueeze(0), tuple(neuron)) for neuron in neurons])


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def mish(x: float) -> float:
    return x * math.tanh(math.log1p(math.exp(x)))


DERIVATIVES = {
    "relu": lambda x: float(x > 0),
    "gelu": lambda x: 0.5 * (1 + math.erf(x / 2**0.5)) + x * math.exp(-x * x / 2) / (2 * math.pi) ** 0.5,
    "silu": lambda x: sigmoid(x) * (1 + x * (1 - sigmoid(x))),
    "mish": lambda x: (mish(x + 1e-5) - mish(x - 1e-5)) / 2e-5,
}


@pytest.mark.parametrize("activation", DERIVATIVES)
def test_guided_gradients_of_two_neurons_computed_by_hand(activation):
    """Red reaches the neuron with weight 5, green with weight -7, blue not at all."""
    net = nn.Sequential(
        nn.Conv2d(3, 2, 1, bias=False), ACTIVATION_LAYERS[activation](), nn.Conv2d(2, 1, 1, bias=False)
    ).eval()
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([[2.0, 0, 0], [0, 3.0, 0]]).view(2, 3, 1, 1))
        net[2].weight.copy_(torch.tensor([5.0, -7.0]).view(1, 2, 1, 1))
    derivative = DERIVATIVES[activation]
    for x in (1.5, -0.5, -2.0, -3.0):
        image = torch.full((3, 1, 1), x / 2)
        (gradient,) = guided_gradients(net, image, Layer("2", net[2]), [(0, 0, 0)])
        # The negative weight passes no gradient; the other one passes none where the slope is negative: at -2 and -3.
        expected = 2 * 5 * max(derivative(x), 0)
        assert gradient.flatten().tolist() == pytest.approx([expected, 0, 0], abs=1e-4)
        assert (expected == 0) == (x <= -2 or (activation == "relu" and x < 0))


def test_guided_gradients_equal_captums_for_relu_modules():
    net, image = cnn("relu"), torch.randn(3, 16, 16)
    layer = guided_backprop_layer(net, image.unsqueeze(0))
    neurons = random_neurons((12, 8, 8), 10, seed=1)
    guided = guided_gradients(net, image, layer, neurons)
    torch.testing.assert_close(guided, by_captum(net, layer, image, neurons), rtol=1e-5, atol=1e-7)
    plain = NeuronGradient(net, layer.module).attribute(image.unsqueeze(0).requires_grad_(), tuple(neurons[0]))
    assert not torch.allclose(guided[:1], plain, rtol=0.01)


@pytest.mark.parametrize("name", ["resnet50", pytest.param("vgg16", marks=pytest.mark.slow)])
def test_guided_gradients_equal_captums_for_backbones_with_in_place_relus(name):
    net, image = backbone(name)
    other = copy.deepcopy(net)
    for module in other.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False  # captum cannot hook in-place relus
    layer = guided_backprop_layer(net, image.unsqueeze(0))
    neurons = [(3, 1, 1), (7, 0, 1)]
    guided = guided_gradients(net, image, layer, neurons)
    reference = by_captum(other, Layer(layer.name, other.get_submodule(layer.name)), image, neurons)
    torch.testing.assert_close(guided, reference, rtol=1e-3, atol=1e-4 * float(reference.abs().max()))


def test_activation_functions_are_guided_like_modules():
    torch.manual_seed(0)
    by_function = nn.Sequential(BasicConv2d(3, 4, kernel_size=3), nn.Conv2d(4, 4, 3)).eval()
    by_module = nn.Sequential(by_function[0].conv, by_function[0].bn, nn.ReLU(), by_function[1]).eval()
    image = torch.randn(3, 8, 8)
    neurons = [(0, 1, 1), (3, 2, 2)]
    guided = guided_gradients(by_function, image, Layer("1", by_function[1]), neurons)
    torch.testing.assert_close(guided, by_captum(by_module, Layer("3", by_module[3]), image, neurons))
    # captum does not guide functions: it returns the plain gradient.
    plain = by_captum(by_function, Layer("1", by_function[1]), image, neurons)
    assert not torch.allclose(plain, guided, rtol=0.01)


@pytest.mark.parametrize(
    "function",
    [
        functional.relu, functional.relu_, torch.relu, torch.relu_, torch.Tensor.relu, functional.relu6,
        functional.gelu, functional.silu, functional.mish, functional.hardswish, lambda x: functional.relu(x, True),
        lambda x: functional.hardtanh(x, 0.0, 6.0), nn.ReLU6(inplace=True), nn.SiLU(inplace=True),
        nn.Mish(inplace=True),
    ],
)  # fmt: skip
def test_every_way_to_call_an_activation_is_guided_and_keeps_its_output(function):
    values = torch.tensor([-3.0, -1.0, 0.5, 8.0])
    given = values.clone().requires_grad_()
    with GuidedActivations():
        output = function(given)
    assert torch.equal(output, function(values.clone()))
    output.backward(torch.full((4,), -1.0), retain_graph=True)
    assert given.grad.tolist() == [0, 0, 0, 0]
    output.backward(torch.ones(4))
    plain = values.clone().requires_grad_()
    function(plain.clone()).sum().backward()
    assert torch.equal(given.grad, plain.grad.clamp(min=0))
    assert torch.equal(given.detach(), values)


@pytest.mark.parametrize("name", ALL_BACKBONES)
def test_every_backbone_has_guided_gradients_and_is_left_unchanged(name):
    net, image = backbone(name)
    state = {key: tensor.clone() for key, tensor in net.state_dict().items()}
    layer = guided_backprop_layer(net, image.unsqueeze(0))
    gradients = guided_gradients(net, image, layer, [(0, 0, 0), (1, 1, 1)])
    assert gradients.shape == (2, *image.shape)
    assert gradients.isfinite().all()
    assert (gradients.flatten(1) != 0).any(1).all()
    assert not torch.equal(gradients[0], gradients[1])
    assert hooks(net) == 0
    assert not any(parameter.grad is not None for parameter in net.parameters())
    assert all(torch.equal(state[key], tensor) for key, tensor in net.state_dict().items())


def test_an_error_leaves_no_hook_and_no_guided_activation():
    net = nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU(), Failing(), nn.Conv2d(3, 3, 1))
    handle = net[0].register_forward_hook(lambda *_: None)  # a hook that must survive
    with pytest.raises(ValueError, match="on purpose"):
        guided_gradients(net, torch.zeros(3, 2, 2), Layer("3", net[3]), [(0, 0, 0)])
    assert hooks(net) == 1
    handle.remove()
    given = torch.ones(1, requires_grad=True)
    functional.relu(given).backward(torch.tensor([-1.0]))
    assert given.grad == -1  # not guided any more


def test_neurons_are_distinct_and_chosen_by_the_seed():
    assert random_neurons((3, 4, 5), 10, 0) == random_neurons((3, 4, 5), 10, 0)
    assert random_neurons((3, 4, 5), 10, 0) != random_neurons((3, 4, 5), 10, 1)
    every = random_neurons((2, 1, 3), 10, 0)
    assert sorted(every) == [(c, 0, x) for c in range(2) for x in range(3)]
