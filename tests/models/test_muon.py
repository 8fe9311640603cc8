import copy
from collections import OrderedDict

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.overrides import TorchFunctionMode

from inat.config.optim import OptimConfig
from inat.config.small_resnet import SmallResNetConfig
from inat.device import fastest_type
from inat.models.classifier import Classifier
from inat.models.muon import OTHERS_BETAS, OTHERS_RATE, STEP_SIZE, Muon, orthogonal, split_groups
from inat.models.small_resnet import build_small_resnet
from inat.models.stages import StagedNetwork


@settings(max_examples=8, deadline=None)
@given(st.integers(2, 40), st.integers(2, 12), st.sampled_from([(), (3, 3)]), st.integers(0, 5))
def test_the_singular_values_become_about_1_and_the_vectors_stay(rows, columns, kernel, seed):
    torch.manual_seed(seed)
    matrix = torch.randn(rows, columns, *kernel).contiguous(
        memory_format=torch.channels_last if kernel else torch.contiguous_format
    )
    found = orthogonal(matrix)
    assert (found.shape, found.dtype) == (matrix.shape, matrix.dtype)
    u, before, v = torch.linalg.svd(matrix.flatten(1), full_matrices=False)
    after = u.T @ found.flatten(1) @ v.T
    large = before > 0.05 * before.norm()
    values = after.diagonal()[large]
    assert values.min() > 0.36  # 0.38 and 1.25 without rounding
    assert values.max() < 1.3
    assert (after - after.diagonal().diag()).abs().max() < 0.25  # the rounding of bfloat16


def network() -> nn.Module:
    torch.manual_seed(0)
    return build_small_resnet(SmallResNetConfig(width=4, stem_filters=4, activation="relu"), 8, 3)


def optimizer_of(net: nn.Module, classes: int = 3, **changes) -> Muon:
    options = {"learning_rate": 0.1, "batch_size": 4, "optimizer": "muon", "weight_decay": 0.5} | changes
    optimizer = Classifier(net, OptimConfig(**options), classes)._optimizer()
    assert isinstance(optimizer, Muon)
    return optimizer


def test_hidden_convolutions_are_orthogonal_and_all_others_learn_by_adamw():
    net = network()
    names = {id(parameter): name for name, parameter in net.named_parameters()}
    groups = optimizer_of(net).param_groups
    hidden = {names[id(p)] for group in groups if group["orthogonal"] for p in group["params"]}
    assert hidden == {f"stage{i}.{layer}.weight" for i in (1, 2) for layer in ("conv1", "branch.conv2")}
    assert sum(len(group["params"]) for group in groups) == len(names)
    for group in groups:
        expected = (0.1, 0.5) if group["orthogonal"] else (0.1 * OTHERS_RATE, 0.0)
        assert (group["lr"], group["weight_decay"]) == pytest.approx(expected)


def test_tokens_and_depthwise_convolutions_are_no_matrices():
    net = nn.ModuleDict({"a": nn.Linear(4, 4), "depthwise": nn.Conv2d(4, 4, 3, groups=4), "head": nn.Linear(4, 2)})
    net.register_parameter("pos_embed", nn.Parameter(torch.zeros(2, 4)))
    groups = split_groups([{"params": list(net.parameters())}], net, lambda name: "pos" in name, 1.0, 2)
    hidden = [p for group in groups if group["orthogonal"] for p in group["params"]]
    assert len(hidden) == 1
    assert hidden[0] is net["a"].weight


class HeadFirst(nn.Module):
    """Registers its head before its body, and has tables beside its layers."""

    def __init__(self, head: nn.Module):
        super().__init__()
        self.head, self.table, self.places = head, nn.Embedding(9, 4), nn.Parameter(torch.zeros(5, 4))
        self.body = nn.Sequential(nn.Linear(4, 4), nn.MultiheadAttention(4, 2), nn.Linear(4, 4))


def hidden_names(net: nn.Module, classes: int) -> set[str]:
    groups = optimizer_of(net, classes=classes).param_groups
    hidden = {id(parameter) for group in groups if group["orthogonal"] for parameter in group["params"]}
    return {name for name, parameter in net.named_parameters() if id(parameter) in hidden}


BODY = {"body.0.weight", "body.1.in_proj_weight", "body.1.out_proj.weight", "body.2.weight"}


@pytest.mark.parametrize("head", [nn.Linear(4, 3), nn.Conv2d(4, 3, 1)])
def test_the_layer_of_the_logits_and_tables_are_no_matrices_wherever_they_are_registered(head):
    assert hidden_names(HeadFirst(head), classes=3) == BODY


def test_without_a_layer_for_the_classes_the_last_one_is_no_matrix():
    assert hidden_names(HeadFirst(nn.Linear(4, 8)), classes=5) == BODY - {"body.2.weight"} | {"head.weight"}


def test_what_the_network_itself_names_is_no_matrix():
    stages = OrderedDict(first=nn.Linear(4, 4), second=nn.Linear(4, 4), head=nn.Linear(4, 3))
    assert hidden_names(StagedNetwork(stages, undecayed=frozenset({"first.weight"})), classes=3) == {"second.weight"}


@pytest.mark.parametrize(("capability", "expected"), [((9, 0), "bfloat16"), ((7, 5), "float16"), ((6, 1), "float32")])
def test_matrices_are_multiplied_in_the_type_that_the_gpu_has(capability, expected, monkeypatch):
    monkeypatch.setattr("inat.device.kind", lambda: "cuda")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: capability >= (8, 0))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
    assert types_of_a_step() == {expected}


@pytest.mark.parametrize(("native", "expected"), [(True, "bfloat16"), (False, "float32")])
def test_a_cpu_without_bfloat16_does_not_emulate_it(native, expected, monkeypatch):
    monkeypatch.setattr("inat.device.kind", lambda: "cpu")
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": native}, raising=False)
    assert types_of_a_step() == {expected}


def types_of_a_step() -> set[str]:
    net, seen = network(), set()
    optimizer = optimizer_of(net)
    nn.functional.cross_entropy(net(torch.randn(4, 3, 8, 8)), torch.arange(4) % 3).backward()

    class Products(TorchFunctionMode):
        def __torch_function__(self, function, types, args=(), kwargs=None):
            if function is torch.addmm:
                seen.add(str(args[0].dtype).removeprefix("torch."))
            return function(*args, **kwargs or {})

    with Products():
        optimizer.step()
    return seen


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_tiny_gradients_have_a_direction_in_every_type(dtype):
    torch.manual_seed(0)
    matrix = torch.randn(8, 12)
    expected = orthogonal(matrix, torch.float32)
    assert torch.allclose(orthogonal(1e-5 * matrix, dtype), expected, atol=0.02)
    assert torch.equal(orthogonal(0 * matrix, dtype), torch.zeros(8, 12))


def step(net: nn.Module, optimizer: Muon, images: torch.Tensor) -> None:
    optimizer.zero_grad()
    nn.functional.cross_entropy(net(images), torch.arange(len(images)) % 3).backward()
    optimizer.step()


def test_a_first_step_is_the_learning_rate_along_the_gradient_made_orthogonal():
    net = network()
    before, images = copy.deepcopy(net), torch.randn(6, 3, 8, 8)
    step(net, optimizer_of(net), images)
    weight, start = net.stage1.conv1.weight, before.stage1.conv1.weight
    size = STEP_SIZE * (9 * 4) ** 0.5
    expected = start * (1 - 0.1 * 0.5) - 0.1 * size * orthogonal(weight.grad, fastest_type())
    assert torch.allclose(weight, expected, atol=2e-3)
    plain = torch.optim.AdamW([before.output.weight], 0.1 * OTHERS_RATE, OTHERS_BETAS, weight_decay=0.0)
    before.output.weight.grad = net.output.weight.grad
    plain.step()
    assert torch.allclose(net.output.weight, before.output.weight, atol=1e-6)


def test_a_resumed_optimizer_goes_on_as_the_first():
    nets, images = [network(), network()], torch.randn(6, 3, 8, 8)
    optimizer = optimizer_of(nets[0])
    step(nets[0], optimizer, images)
    nets[1].load_state_dict(nets[0].state_dict())
    resumed = optimizer_of(nets[1])
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    step(nets[0], optimizer, images)
    step(nets[1], resumed, images)
    assert all(torch.equal(a, b) for a, b in zip(*(net.parameters() for net in nets), strict=True))


def test_a_step_whose_gradients_overflow_in_float16_changes_nothing_and_scales_are_undone():
    nets, images = [network(), network()], torch.randn(6, 3, 8, 8)
    optimizers = [optimizer_of(net) for net in nets]
    for net, optimizer in zip(nets, optimizers, strict=True):
        step(net, optimizer, images)
    before = copy.deepcopy(nets[0].state_dict())
    for parameter in nets[0].parameters():
        parameter.grad.mul_(float("inf"))
    optimizers[0].grad_scale, optimizers[0].found_inf = torch.tensor(1024.0), torch.tensor(1.0)
    optimizers[0].step()
    assert all(torch.equal(tensor, before[name]) for name, tensor in nets[0].state_dict().items())
    for a, b in zip(*(net.parameters() for net in nets), strict=True):
        a.grad = 1024 * b.grad
    optimizers[0].found_inf = torch.tensor(0.0)
    for optimizer in optimizers:
        optimizer.step()
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(*(net.parameters() for net in nets), strict=True))
