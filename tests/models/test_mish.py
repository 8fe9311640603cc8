import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

from inat.models import mish
from inat.models.mish import Mish

ALL_VALUES = torch.arange(2**16, dtype=torch.int32).to(torch.uint16).view(torch.bfloat16)


@pytest.fixture
def looked_up(monkeypatch):
    """Numbers of values of the looked-up calls; few threads, whatever the machine has."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    calls = []
    forward = mish._LookedUpMish.apply
    monkeypatch.setattr(mish._LookedUpMish, "apply", lambda inputs: (calls.append(inputs.numel()), forward(inputs))[1])
    return calls


def run(activation, inputs, gradient):
    inputs = inputs.detach().requires_grad_()
    output = activation(inputs)
    output.backward(gradient)
    return output.detach(), inputs.grad


def same_bits(one, other):
    assert one.dtype == other.dtype
    assert one.stride() == other.stride()
    missing = one.isnan()
    return torch.equal(missing, other.isnan()) and torch.equal(one[~missing], other[~missing])


@pytest.mark.parametrize("factor", [1.0, -0.3, 3e38, 1e-38])
def test_every_bfloat16_has_the_bits_of_torch(looked_up, factor):
    gradient = torch.full_like(ALL_VALUES, factor)
    for one, other in zip(run(Mish(), ALL_VALUES, gradient), run(functional.mish, ALL_VALUES, gradient), strict=True):
        assert same_bits(one, other)
    assert looked_up == [2**16]


RANDOM = torch.Generator().manual_seed(0)


def normal(*shape):
    return torch.randn(shape, generator=RANDOM).to(torch.bfloat16)


LOOKED_UP = {
    "channels last": normal(16, 8, 5, 7).contiguous(memory_format=torch.channels_last),
    "channels first": normal(16, 8, 5, 7),
    "dense": normal(8, 32),
    "more than one chunk": normal(3, 2**17 // 2),
    "one pixel": normal(16, 8, 1, 1).contiguous(memory_format=torch.channels_last),
    "empty": normal(0, 4),
}
COMPUTED = {
    "not a multiple of what torch computes at once": normal(3, 8, 5, 7),
    "part of a larger tensor": normal(64, 8, 6, 6)[:, :, 1:4, ::2],
}


@pytest.mark.parametrize("name", [*LOOKED_UP, *COMPUTED])
def test_any_layout_has_the_bits_of_torch(looked_up, name):
    inputs = (LOOKED_UP | COMPUTED)[name]
    gradients = [
        normal(*inputs.shape).as_strided(inputs.shape, inputs.stride()) if name in LOOKED_UP else normal(*inputs.shape),
        normal(*inputs.shape),
        torch.full((), 0.3, dtype=torch.bfloat16).expand(inputs.shape),
    ]
    for gradient in gradients:
        for one, other in zip(run(Mish(), inputs, gradient), run(functional.mish, inputs, gradient), strict=True):
            assert torch.equal(one, other)
    assert len(looked_up) == (len(gradients) if name in LOOKED_UP else 0)


def test_validation_looks_up_and_inspection_and_float32_do_not(looked_up):
    layer, inputs = Mish(), normal(16, 8)
    with torch.inference_mode():
        assert torch.equal(layer.eval()(inputs), functional.mish(inputs))
    assert looked_up == [128]
    layer(inputs.requires_grad_()).sum().backward()  # gradients in eval mode: something inspects the network
    layer.train()(inputs.float())
    layer(torch.empty(16, 8, dtype=torch.bfloat16, device="meta"))
    assert looked_up == [128]


def test_many_threads_compute_faster_than_one_looks_up(looked_up, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    Mish()(normal(16, 8))
    assert looked_up == []


def test_the_compiler_sees_torchs_mish():
    compiled = torch.compile(Mish(), backend="eager", fullgraph=True)
    inputs = normal(16, 8)
    assert torch.equal(compiled(inputs), functional.mish(inputs))


def test_it_is_torchs_mish_to_whoever_looks_for_activations():
    assert isinstance(copy.deepcopy(Mish()), nn.Mish)
    assert Mish().state_dict() == {}
