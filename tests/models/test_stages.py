from collections import OrderedDict
from copy import deepcopy

import pytest
import torch
from torch import nn

from inat.errors import ConfigError
from inat.models.stages import StagedNetwork

IMAGES = torch.randn(4, 3, 6, 6, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def network() -> StagedNetwork:
    torch.manual_seed(0)
    first = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
    second = nn.Sequential(nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4), nn.Dropout(), nn.Flatten())
    return StagedNetwork(OrderedDict(first=first, second=second, head=nn.Linear(16, 2)), "toy")


def training(network: StagedNetwork) -> list[bool]:
    return [stage.training for stage in network]


def test_frozen_stages_stay_in_eval_mode_in_every_mode_of_the_network(network):
    network.freeze(1)
    assert training(network) == [False, True, True]
    assert not network.first[1].training
    assert training(network.eval()) == [False, False, False]
    assert training(network.train()) == [False, True, True]
    wrapper = nn.ModuleList([network]).train()
    assert training(wrapper[0]) == [False, True, True]
    network.freeze(0)
    assert training(network) == [True, True, True]
    network.eval().freeze(1)
    assert training(network) == [False, False, False]


def test_freezing_drops_gradients_and_unfreezing_trains_again(network):
    network(IMAGES).sum().backward()
    network.freeze(2)
    assert [p.requires_grad for p in network.parameters()] == [False] * 8 + [True] * 2
    assert [p.grad is None for p in network.parameters()] == [True] * 8 + [False] * 2
    network.freeze(0)
    assert all(p.requires_grad for p in network.parameters())


def test_frozen_stages_have_no_backward_graph(network):
    recorded = []
    for stage in network:
        stage.register_forward_hook(lambda module, given, result: recorded.append(result.requires_grad))
    network.freeze(1)
    network.first.requires_grad_(True)  # as a callback might do
    network(IMAGES).sum().backward()
    assert recorded == [False, True, True]
    assert all(p.grad is None for p in network.first.parameters())


def test_images_that_require_gradients_get_them_through_frozen_stages(network):
    network.freeze(2)
    images = IMAGES.clone().requires_grad_()
    network(images).sum().backward()
    assert images.grad is not None
    assert images.grad.abs().sum() > 0
    with torch.no_grad():
        assert not network(images).requires_grad


@pytest.mark.parametrize("count", [0, 1, 2])
def test_prefix_and_suffix_together_are_the_network(network, count):
    network.freeze(count)
    network.eval()
    prefix, suffix = network.prefix(), network.suffix()
    assert torch.equal(suffix(prefix(IMAGES)), network(IMAGES))
    parts = prefix.state_dict() | suffix.state_dict()
    assert list(parts) == list(network.state_dict())
    assert all(parts[key].data_ptr() == tensor.data_ptr() for key, tensor in network.state_dict().items())
    assert training(prefix.train()) == [False] * count
    assert training(suffix.train()) == [True] * (3 - count)
    assert not prefix(IMAGES).requires_grad


def test_a_copy_stays_frozen(network):
    network.freeze(2)
    copied = deepcopy(network).train()
    assert (copied.frozen, copied.name, training(copied)) == (2, "toy", [False, False, True])


@pytest.mark.parametrize("count", [-1, 3])
def test_at_least_one_stage_trains(network, count):
    with pytest.raises(ConfigError, match=f"cannot freeze {count} of the 3 stages of toy: one has to train"):
        network.freeze(count)
