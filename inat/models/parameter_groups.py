"""The parameters that train, grouped by their learning rate and weight decay."""

from collections.abc import Callable, Collection, Sequence
from typing import Any

from torch import nn

from inat.config.optim import AUTO, OptimConfig
from inat.models.stages import HEAD, StagedNetwork

# Vectors that have several dimensions in vision transformers: tokens, positions and layer scales. Decay would pull them
# to 0, which is no neutral value for them, as for norms and biases.
UNDECAYED = frozenset({
    "class_token", "cls_token", "dist_token", "reg_token", "register_tokens", "mask_token",
    "pos_embedding", "pos_embed", "position_embedding", "absolute_pos_embed", "rel_pos", "relative_position_bias_table",
    "gamma", "gamma_1", "gamma_2", "layer_scale", "layer_scale_1", "layer_scale_2",
})  # fmt: skip
Named = Sequence[tuple[str, nn.Parameter]]


def parameter_groups(net: nn.Module, optim: OptimConfig, body_rate: float) -> list[dict[str, Any]]:
    """Groups for a torch optimizer; the learning rate of a group is "lr", by default that of the optimizer.

    The rate of a stage is ``learning_rate * body_rate * layer_decay ** distance``, that of the head, at distance 0, is
    ``learning_rate``. Networks that are no StagedNetwork have two stages: the layers called "head" and all others.
    """
    trained = [(name, parameter) for name, parameter in net.named_parameters() if parameter.requires_grad]
    spared = net.undecayed if isinstance(net, StagedNetwork) else frozenset()
    if body_rate == 1 and optim.layer_decay == 1:
        return by_decay(trained, optim, spared)
    groups: list[dict[str, Any]] = []
    for stage, factor in rate_factors(net, optim.layer_decay, body_rate).items():
        own = [(name, parameter) for name, parameter in trained if _is_of(name, stage)]
        rate = {} if stage == HEAD else {"lr": factor * optim.learning_rate}
        groups += [group | rate for group in by_decay(own, optim, spared) if group["params"]]
    return groups


def rate_factors(net: nn.Module, layer_decay: float, body_rate: float) -> dict[str, float]:
    """Multiples of the learning rate by stage, the head first; "" stands for all stages before the head.

    Without ``layer_decay`` (1), all stages before the head are one.
    """
    if layer_decay == 1 or not isinstance(net, StagedNetwork):
        return {HEAD: 1.0, "": body_rate * layer_decay}
    stages = [name for name, _ in net.named_children() if name != HEAD]
    rates = stage_rates(len(stages), layer_decay, body_rate)
    return {HEAD: 1.0} | dict(zip(reversed(stages), reversed(rates), strict=True))


def stage_rates(stages: int, layer_decay: float, body_rate: float) -> list[float]:
    """Multiples of the learning rate for the ``stages`` before the head, from the first to the last.

    >>> stage_rates(3, layer_decay=0.5, body_rate=0.8)
    [0.1, 0.2, 0.4]
    """
    return [body_rate * layer_decay ** (stages - i) for i in range(stages)]


def _is_of(name: str, stage: str) -> bool:
    return name.startswith(f"{stage}.") if stage else not name.startswith(f"{HEAD}.")


def by_decay(parameters: Named, optim: OptimConfig, spared: Collection[str] = ()) -> list[dict[str, Any]]:
    """Parameter groups: with weight decay, a group of its own, without decay, for what no decay is good for."""
    if not optim.weight_decay:
        return [{"params": [parameter for _, parameter in parameters]}]
    decayed = [parameter for name, parameter in parameters if is_decayed(name, parameter, optim, spared)]
    others = [parameter for name, parameter in parameters if not is_decayed(name, parameter, optim, spared)]
    return [{"params": decayed, "weight_decay": optim.weight_decay}, {"params": others, "weight_decay": 0.0}]


def is_decayed(name: str, parameter: nn.Parameter, optim: OptimConfig, spared: Collection[str] = ()) -> bool:
    """Whether weight decay acts on a parameter: not on norms and biases, which have one axis.

    The optimizer "auto" decays everything else, as in studies of version 0.2; the others spare what UNDECAYED names,
    and ``spared``: what the network itself names.
    """
    if parameter.ndim <= 1:
        return False
    return optim.optimizer == AUTO or not (name in spared or is_spared(name))


def spared_by(net: nn.Module) -> Callable[[str], bool]:
    """Whether a parameter of ``net`` is a token, a position or the like: by its name, or as the network says."""
    own = net.undecayed if isinstance(net, StagedNetwork) else frozenset()
    return lambda name: name in own or is_spared(name)


def is_spared(name: str) -> bool:
    """Whether a parameter is a token, a position or the like, by its name.

    >>> is_spared("encoder.pos_embedding"), is_spared("encoder.mlp.weight")
    (True, False)
    """
    return not UNDECAYED.isdisjoint(name.split("."))
