import copy

import pytest
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torchvision.models import VisionTransformer

from inat.config.backbones import BackboneConfig
from inat.models.adapters import LowRankUpdate, adapt, is_norm, merge_updates, set_probing
from inat.models.backbones import build_backbone
from inat.models.factory import count_trained
from inat.models.stages import StagedNetwork, vit_stages

SIDE, BLOCKS = 32, 2


def build(backbone: str) -> StagedNetwork:
    torch.manual_seed(0)
    if backbone != "vit_b_16":
        return build_backbone(backbone, 3, image_size=SIDE)
    small = VisionTransformer(SIDE, 16, num_layers=BLOCKS, num_heads=2, hidden_dim=32, mlp_dim=64, num_classes=3)
    nn.init.normal_(small.heads.head.weight)  # torchvision's are 0
    return StagedNetwork(vit_stages(small), "small vit")


def adapted(backbone: str, strategy: str, **changes) -> StagedNetwork:
    network = build(backbone)
    network.freeze(0)
    adapt(network, BackboneConfig(backbone=backbone, strategy=strategy, **changes))
    return network.train()


def trained(network: StagedNetwork) -> set[str]:
    return {name for name, parameter in network.named_parameters() if parameter.requires_grad}


def images() -> torch.Tensor:
    return torch.randn(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("backbone", ["mobilenet_v2", "vit_b_16"])
def test_bitfit_trains_the_biases_and_the_head(backbone):
    network = adapted(backbone, "bitfit")
    biases = {name for name, _ in network.named_parameters() if name.endswith("bias")}
    assert trained(network) == biases | {"head.linear.weight"}
    assert len(biases) >= 10


@pytest.mark.parametrize("backbone", ["mobilenet_v2", "vit_b_16"])
def test_norm_only_trains_the_norms_and_the_head(backbone):
    network = adapted(backbone, "norm_only")
    norms = {f"{name}.{part}" for name, m in network.named_modules() if is_norm(m) for part in ("weight", "bias")}
    assert trained(network) == norms | {"head.linear.weight", "head.linear.bias"}
    assert len(norms) >= 10


@pytest.mark.parametrize("backbone", ["mobilenet_v2", "vit_b_16"])
def test_lora_trains_its_updates_and_the_head(backbone):
    network = adapted(backbone, "lora", lora_rank=2)
    updates = {f"{name}.{part}" for name, m in network.named_modules() if isinstance(m, LowRankUpdate)
               for part in ("down", "up")}  # fmt: skip
    assert trained(network) == updates | {"head.linear.weight", "head.linear.bias"}
    assert all(update.up.shape[1] == 2 for update in network.modules() if isinstance(update, LowRankUpdate))
    if backbone == "vit_b_16":
        assert len(updates) == 2 * BLOCKS * 4  # queries, keys and values together; output; two dense layers


@pytest.mark.parametrize("strategy", ["lora", "bitfit", "norm_only"])
def test_the_parameters_of_a_strategy_are_counted_without_building_its_network(strategy):
    network = adapted("mobilenet_v2", strategy)
    model = BackboneConfig(backbone="mobilenet_v2", strategy=strategy)
    expected = sum(p.numel() for p in network.parameters() if p.requires_grad)
    assert count_trained(model, SIDE, 3) == expected


def test_a_new_update_changes_nothing():
    network, plain = adapted("mobilenet_v2", "lora").eval(), build("mobilenet_v2").eval()
    assert torch.equal(network(images()), plain(images()))


@pytest.mark.parametrize("backbone", ["mobilenet_v2", "vit_b_16"])
def test_merged_updates_leave_the_outputs_bit_by_bit_and_the_names_of_the_plain_network(backbone):
    network = adapted(backbone, "lora")
    for update in (m for m in network.modules() if isinstance(m, LowRankUpdate)):
        nn.init.normal_(update.up, std=0.05)
    merged = copy.deepcopy(network)
    merge_updates(merged)
    plain = build(backbone).state_dict()
    assert merged.state_dict().keys() == plain.keys()
    assert torch.equal(merged.eval()(images()), network.eval()(images()))
    assert not torch.equal(merged(images()), adapted(backbone, "lora").eval()(images()))


def test_norms_of_lora_and_bitfit_keep_their_statistics_and_those_of_norm_only_do_not():
    for strategy, expected in (("lora", True), ("bitfit", True), ("norm_only", False)):
        network = adapted("mobilenet_v2", strategy)
        before = {name: buffer.clone() for name, buffer in network.named_buffers()}
        network(images())
        kept = all(torch.equal(buffer, before[name]) for name, buffer in network.named_buffers())
        assert kept == expected, strategy


def test_strategies_of_stages_are_not_touched():
    for strategy in ("unfreeze_all", "lp_ft", "freeze_all"):
        network = adapted("mobilenet_v2", strategy)
        assert trained(network) == {name for name, _ in network.named_parameters()}
        assert network.still == []


def test_while_the_head_is_probed_the_body_rests():
    network = build("mobilenet_v2").train()
    set_probing(network, True)
    assert trained(network) == {"head.linear.weight", "head.linear.bias"}
    norms = [m for m in network.train().modules() if isinstance(m, _BatchNorm)]
    assert not any(norm.training for norm in norms)
    assert network.head.training
    network(images()).sum().backward()
    assert all(p.grad is None for stage in list(network)[:-1] for p in stage.parameters())
    set_probing(network, False)
    assert all(norm.training for norm in norms)
    assert trained(network) == {name for name, _ in network.named_parameters()}
