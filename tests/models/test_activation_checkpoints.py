from collections import OrderedDict

import pytest
import torch
from torch import nn

from inat.models.stages import StagedNetwork

IMAGES = torch.randn(8, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def network() -> StagedNetwork:
    torch.manual_seed(0)
    first = nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Dropout(0.5))
    second = nn.Sequential(nn.Conv2d(6, 6, 3), nn.BatchNorm2d(6), nn.Flatten(), nn.Dropout(0.5))
    return StagedNetwork(OrderedDict(first=first, second=second, head=nn.Linear(96, 2)))


def trained(checkpointed: bool, frozen: int) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    net = network()
    net.freeze(frozen)
    net.checkpointed = checkpointed
    optimizer = torch.optim.SGD([p for p in net.parameters() if p.requires_grad], 0.1)
    torch.manual_seed(1)
    for _ in range(3):
        optimizer.zero_grad()
        net(IMAGES).square().sum().backward()
        optimizer.step()
    return torch.rand(1), net.state_dict()


@pytest.mark.parametrize("frozen", [0, 1])
def test_training_gives_the_same_bits_with_checkpoints_as_without(frozen):
    """Also with dropout, and with batch norms, which would otherwise count each batch twice."""
    (drawn, plain), (drawn_too, checkpointed) = trained(False, frozen), trained(True, frozen)
    assert all(torch.equal(plain[name], checkpointed[name]) for name in plain)
    assert torch.equal(drawn, drawn_too)  # the random numbers of what comes next


def kept_bytes(checkpointed: bool) -> int:
    net = network()
    net.checkpointed = checkpointed
    sizes = []

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        sizes.append(tensor.nbytes)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        net(IMAGES)
    return sum(sizes)


def test_checkpoints_keep_less_for_the_backward_pass():
    assert kept_bytes(True) < kept_bytes(False) / 2


def test_nothing_is_checkpointed_in_evaluation():
    net = network().eval()
    plain = net(IMAGES)
    net.checkpointed = True
    assert torch.equal(net(IMAGES), plain)
