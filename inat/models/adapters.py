"""Strategies that train few parameters of every stage: low-rank updates, biases, or norms, and the head.

LoRA: https://arxiv.org/abs/2106.09685, BitFit: https://arxiv.org/abs/2106.10199.
"""

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from inat.config.backbones import BITFIT, FEW, LORA, NORM_ONLY, BackboneConfig
from inat.config.own_model import OwnModelConfig
from inat.models.norms import BATCH_NORMS
from inat.models.stages import StagedNetwork

SCALE = 2.0  # of a low-rank update, as with peft's usual alpha of twice the rank
WEIGHTS = ("weight", "in_proj_weight")  # the latter is of nn.MultiheadAttention: queries, keys and values together


class LowRankUpdate(nn.Module):
    """Adds a product of two thin matrices to a weight of shape (out, in) or (out, in, 1, 1); 0 at the start."""

    def __init__(self, weight: Tensor, rank: int) -> None:
        super().__init__()
        rows, columns = weight.shape[:2]
        rank = min(rank, rows, columns)
        self.down = nn.Parameter(torch.empty(rank, columns, device=weight.device))
        self.up = nn.Parameter(torch.zeros(rows, rank, device=weight.device))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))

    def forward(self, weight: Tensor) -> Tensor:
        """The updated weight, in float32 also where the network computes in 16 bit."""
        with torch.autocast("cuda" if weight.is_cuda else "cpu", enabled=False):
            update = (self.up @ self.down).view_as(weight)
            return weight + SCALE * update


def adapt(network: StagedNetwork, model: BackboneConfig | OwnModelConfig) -> None:
    """Let only those parameters train that the strategy of ``model`` names; nothing happens for strategies of stages.

    The norms of lora and bitfit stay in eval mode: their statistics belong to the weights that do not train.
    """
    if isinstance(model, OwnModelConfig) or model.strategy not in FEW:
        return
    body, head = list(network)[:-1], network[-1]
    for stage in body:
        stage.requires_grad_(False)
        if model.strategy == LORA:
            add_low_rank_updates(stage, model.lora_rank)
        for parameter in _trained(stage, model.strategy):
            parameter.requires_grad_(True)
    head.requires_grad_(True)
    if model.strategy != NORM_ONLY:
        network.still = [module for stage in body for module in stage.modules() if isinstance(module, BATCH_NORMS)]
    network.train(network.training)


def set_probing(network: StagedNetwork, probing: bool) -> None:
    """Let only the head of a network without frozen stages train, the body being in eval mode; or the whole network."""
    body = list(network)[:-1]
    for stage in body:
        stage.requires_grad_(not probing)
    network.still = body if probing else []
    network.train(network.training)


def _trained(stage: nn.Module, strategy: str) -> Iterator[nn.Parameter]:
    for module in stage.modules():
        for name, parameter in module.named_parameters(recurse=False):
            is_bias = strategy == BITFIT and name.endswith("bias")
            if is_bias or (strategy == NORM_ONLY and is_norm(module)) or isinstance(module, LowRankUpdate):
                yield parameter


def is_norm(module: nn.Module) -> bool:
    """Whether a module is a normalisation, of torch or of a library that calls it so; a block with one is none."""
    if isinstance(module, (*BATCH_NORMS, nn.LayerNorm, nn.GroupNorm)):
        return True
    return "norm" in type(module).__name__.lower() and any(True for _ in module.parameters(recurse=False))


def add_low_rank_updates(stage: nn.Module, rank: int) -> None:
    """Give each dense layer, each attention and each 1x1 convolution of ``stage`` an update of its weight."""
    for module in list(stage.modules()):
        for name in WEIGHTS:
            weight = getattr(module, name, None)
            if isinstance(weight, nn.Parameter) and _takes_update(module, weight):
                parametrize.register_parametrization(module, name, LowRankUpdate(weight, rank))


def _takes_update(module: nn.Module, weight: Tensor) -> bool:
    if isinstance(module, nn.Conv2d):
        return module.kernel_size == (1, 1) and module.groups == 1
    return isinstance(module, nn.Linear | nn.MultiheadAttention) and weight.ndim == 2


def merge_updates(network: nn.Module) -> None:
    """Replace each weight by its updated value, so that the network is again the one that it was made from.

    Its outputs keep their bits; nothing happens to a network without updates.
    """
    for module in list(network.modules()):
        if parametrize.is_parametrized(module):
            _merge(module)


def _merge(module: nn.Module) -> None:
    # Not torch's remove_parametrizations: it also takes the weights from the copies of the module, which share its
    # class.
    names = list(module.parametrizations)  # type: ignore[arg-type]
    weights = {name: nn.Parameter(getattr(module, name).detach().clone()) for name in names}
    module.__class__ = type(module).__bases__[0]
    del module.parametrizations
    for name, weight in weights.items():
        module.register_parameter(name, weight)
