from collections import OrderedDict

import pytest
import torch
from torch import nn
from torchvision.ops import StochasticDepth

from inat.models.backbones import build_backbone
from inat.models.drop_path import drop_path_places, set_drop_path
from inat.models.stages import StagedNetwork


def shares(network: nn.Module) -> list[float]:
    return [module.p for module in network.modules() if isinstance(module, StochasticDepth)]


def test_the_share_rises_linearly_from_the_first_block_to_the_last():
    network = build_backbone("efficientnet_v2_s", 3, image_size=64)
    count = set_drop_path(network, 0.3)
    assert count == len(shares(network)) == 40
    assert shares(network) == pytest.approx([0.3 * i / 39 for i in range(40)])


def test_the_last_stages_alone_get_the_shares_that_they_have_in_the_whole_network():
    whole, part = (build_backbone("efficientnet_v2_s", 3, image_size=64) for _ in range(2))
    set_drop_path(whole, 0.3)
    part.freeze(6)
    suffix = part.suffix()
    suffix.places_before = len(drop_path_places(part.prefix()))
    count = set_drop_path(suffix, 0.3)
    assert shares(suffix) == pytest.approx(shares(whole)[-count:])


def test_frozen_stages_which_other_trials_share_are_not_changed():
    network = build_backbone("efficientnet_v2_s", 3, image_size=64)
    before = shares(network)
    network.freeze(6)
    count = set_drop_path(network, 0.9)
    assert shares(network)[:-count] == before[:-count]
    assert shares(network)[-1] == pytest.approx(0.9)


def test_networks_without_such_blocks_ignore_it():
    assert set_drop_path(build_backbone("vgg16", 3, image_size=32), 0.5) == 0


class Block(nn.Module):
    """As timm's blocks are without drop path."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.drop_path1 = nn.Linear(2, 2), nn.Identity()

    def forward(self, flow: torch.Tensor) -> torch.Tensor:
        return flow + self.drop_path1(self.layer(flow))


def test_places_that_timm_leaves_empty_are_filled():
    torch.manual_seed(0)
    network = StagedNetwork(OrderedDict(one=Block(), two=Block(), head=nn.Linear(2, 2)))
    assert set_drop_path(network, 0.5) == 2
    assert (network.one.drop_path1.p, network.two.drop_path1.p) == (0.0, 0.5)
    flow = torch.randn(400, 2)
    skipped = (network.train().two(flow) == flow).all(1).float().mean()
    assert skipped == pytest.approx(0.5, abs=0.1)
    assert not (network.eval().two(flow) == flow).any()
