from collections import OrderedDict

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from inat.config.optim import OptimConfig
from inat.models.parameter_groups import parameter_groups, stage_rates
from inat.models.stages import StagedNetwork


@pytest.fixture
def network() -> StagedNetwork:
    stages = [(name, nn.Linear(2, 2)) for name in ("stem", "block1", "block2", "head")]
    return StagedNetwork(OrderedDict(stages))


def optim(**changes) -> OptimConfig:
    return OptimConfig(**({"learning_rate": 0.8, "batch_size": 4} | changes))


def rates(network: nn.Module, groups: list) -> dict[str, float]:
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    return {names[id(p)]: group.get("lr", 0.8) for group in groups for p in group["params"]}


def test_a_stage_learns_at_the_rate_times_the_decay_to_the_power_of_its_distance_from_the_head(network):
    found = rates(network, parameter_groups(network, optim(layer_decay=0.5), body_rate=1.0))
    weights = [found[f"{stage}.weight"] for stage in ("head", "block2", "block1", "stem")]
    assert weights == pytest.approx([0.8, 0.4, 0.2, 0.1])
    assert found["stem.bias"] == found["stem.weight"]


def test_the_factor_of_the_body_multiplies_the_layer_decay(network):
    found = rates(network, parameter_groups(network, optim(layer_decay=0.5), body_rate=0.1))
    assert found["head.weight"] == 0.8
    assert found["block2.weight"] == pytest.approx(0.8 * 0.1 * 0.5)


def test_the_stages_that_are_left_of_a_network_learn_as_in_the_whole_network(network):
    network.freeze(1)
    whole = rates(network, parameter_groups(network, optim(layer_decay=0.5), body_rate=0.3))
    part = network.suffix()
    assert rates(part, parameter_groups(part, optim(layer_decay=0.5), body_rate=0.3)) == whole
    assert not any(name.startswith("stem") for name in whole)


def test_without_decay_and_factor_all_parameters_are_one_group_in_their_order(network):
    (group,) = parameter_groups(network, optim(), body_rate=1.0)
    assert group.keys() == {"params"}
    assert [id(p) for p in group["params"]] == [id(p) for p in network.parameters()]


@given(st.integers(1, 40), st.floats(0.3, 0.99), st.floats(0.01, 2))
def test_rates_rise_from_stage_to_stage_and_stay_below_that_of_the_head(stages, layer_decay, body_rate):
    found = stage_rates(stages, layer_decay, body_rate)
    assert len(found) == stages
    assert all(low < high for low, high in zip(found, [*found[1:], body_rate], strict=True))


class Tokens(nn.Module):
    def __init__(self):
        super().__init__()
        self.class_token, self.pos_embedding = nn.Parameter(torch.zeros(1, 1, 4)), nn.Parameter(torch.zeros(1, 5, 4))
        self.conv_proj, self.norm = nn.Conv2d(3, 4, 2), nn.LayerNorm(4)


def decayed(optimizer: str) -> set[str]:
    network = StagedNetwork(OrderedDict(embed=Tokens(), head=nn.Linear(4, 2)))
    groups = parameter_groups(network, optim(weight_decay=0.1, optimizer=optimizer), body_rate=1.0)
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    assert sorted(names[id(p)] for g in groups for p in g["params"]) == sorted(names.values())
    return {names[id(p)] for group in groups if group["weight_decay"] for p in group["params"]}


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_decay_spares_norms_biases_tokens_and_positions(optimizer):
    assert decayed(optimizer) == {"embed.conv_proj.weight", "head.weight"}


def test_the_optimizer_of_earlier_studies_decays_tokens_and_positions_as_before():
    tokens = {"embed.class_token", "embed.pos_embedding"}
    assert decayed("auto") == {"embed.conv_proj.weight", "head.weight"} | tokens


def test_decay_spares_what_a_network_names_and_parts_of_the_network_spare_it_too():
    stages = OrderedDict(embed=Tokens(), block=nn.Linear(4, 4), head=nn.Linear(4, 2))
    network = StagedNetwork(stages, undecayed=frozenset({"block.weight"}))
    for rate, chosen in ((1.0, "adamw"), (0.5, "sgd"), (1.0, "auto")):
        groups = parameter_groups(network, optim(weight_decay=0.1, optimizer=chosen), body_rate=rate)
        found = {id(p) for group in groups if group["weight_decay"] for p in group["params"]}
        assert (id(network.block.weight) in found) == (chosen == "auto")
        assert id(network.embed.conv_proj.weight) in found
    network.freeze(1)
    groups = parameter_groups(network.suffix(), optim(weight_decay=0.1, optimizer="adamw"), body_rate=1.0)
    assert [p.shape for group in groups if group["weight_decay"] for p in group["params"]] == [(2, 4)]
