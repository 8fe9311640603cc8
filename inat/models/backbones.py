"""Pretrained backbones as lists of stages, and the number of stages that a strategy freezes.

python -m inat.models.backbones                            # stages, sizes and published accuracy of all backbones
python -m inat.models.backbones resnet50 vgg16 --num-classes 100
python -m inat.models.backbones --search convnext          # timm's pretrained models of this name
python -m inat.models.backbones timm:convnext_tiny.fb_in22k
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import torch
import tyro
from rich.table import Column, Table
from rich.text import Text
from torch import Tensor, nn
from torchvision import models

from analysis.terminal import PlainConsole
from inat.cli import run_command
from inat.config.backbones import FREEZE_ALL, FREEZE_PARTIAL, STRATEGIES, UNFREEZE_ALL, WHOLE
from inat.config.timm_names import is_timm
from inat.errors import ConfigError
from inat.models.published_backbones import BACKBONES, Backbone, get_backbone
from inat.models.stages import HEAD, StagedNetwork, Stages
from inat.models.timm_facts import stages_of_timm
from inat.models.transfer import interpolate_positions, load_body


def build_backbone(
    name: str, num_classes: int, *, image_size: int | None = None, state_dict: Mapping[str, Tensor] | None = None
) -> StagedNetwork:
    """A network (N, 3, image_size, image_size) -> logits (N, num_classes) with a new head.

    ``state_dict`` is that of the published model ``name`` with any number of classes; without it, the body has random
    weights. ``image_size`` is in pixels, by default the size of the published accuracy. Raises ConfigError for an
    unknown name, an impossible size or weights of another network.
    """
    if num_classes < 1:
        raise ConfigError(f"num_classes must be positive, got {num_classes}")
    if is_timm(name):
        from inat.models.timm_backbones import build_timm  # loads timm, which torchvision's networks do without

        return build_timm(name, num_classes, image_size=image_size, state_dict=state_dict)
    backbone = get_backbone(name)
    size = _checked_size(name, image_size)
    options = {**backbone.options, "num_classes": num_classes, **({"image_size": size} if backbone.patch else {})}
    if state_dict is None:
        stages = backbone.stages(models.get_model(name, weights=None, **options))
    else:
        stages = _pretrained(name, options, size, state_dict)
    network = StagedNetwork(stages, name)
    # torchvision initialises the output of each architecture in another way, ViT's with zeros.
    network.reset_outputs()
    return network


def _checked_size(name: str, image_size: int | None) -> int:
    backbone = get_backbone(name)
    size = backbone.image_size if image_size is None else image_size
    if size < backbone.min_size:
        raise ConfigError(f"{name} needs images of at least {backbone.min_size} px, but image_size is {size}")
    if backbone.patch and size % backbone.patch:
        raise ConfigError(f"{name} needs images of a multiple of {backbone.patch} px, but image_size is {size}")
    return size


def _pretrained(name: str, options: Mapping[str, Any], size: int, weights: Mapping[str, Tensor]) -> Stages:
    backbone = get_backbone(name)
    with torch.device("meta"):  # skips the random initialisation, which loading would overwrite
        model = models.get_model(name, weights=None, **options)
    model.to_empty(device=torch.get_default_device())
    for buffer in model.buffers():
        buffer.zero_()  # older files lack the counters of batch norms
    stages = backbone.stages(model)
    if backbone.patch:
        weights = interpolate_positions(weights, size, backbone.patch)
    load_body(model, _output(stages), weights, name, backbone.auxiliary)
    return stages


def _output(stages: Stages) -> nn.Linear:
    output = stages[HEAD].get_submodule("linear")
    assert isinstance(output, nn.Linear)
    return output


@functools.cache
def stage_names(name: str) -> tuple[str, ...]:
    """Names of the stages of a backbone, from the first stage to the head; ConfigError for an unknown backbone."""

    def build() -> tuple[str, ...]:
        return tuple(stage for stage, _ in without_memory(name, 1).named_children())

    return stages_of_timm(name, build) if is_timm(name) else build()


def without_memory(name: str, num_classes: int, image_size: int | None = None) -> StagedNetwork:
    """A network whose layers can be counted; only a few of timm's models take memory for their values.

    Those compute with their own values while they are built or cut, and need real ones.
    """
    try:
        with torch.device("meta"), torch.random.fork_rng(devices=[]):
            network = build_backbone(name, num_classes, image_size=image_size)
    except Exception:  # the code of any model runs without values here
        if not is_timm(name):
            raise
    else:
        if not network.note:  # it could not be cut, maybe for lack of values
            return network
    with torch.random.fork_rng(devices=[]):
        return build_backbone(name, num_classes, image_size=image_size)


def frozen_stage_count(network: StagedNetwork | str, strategy: str, k_layers: int | None = None) -> int:
    """Number of leading stages that ``strategy`` freezes in a network, or in the backbone of that name.

    freeze_all trains only the head, freeze_partial also the last ``k_layers`` stages before it; the other
    strategies freeze no whole stage. Raises ConfigError for an unknown strategy or an impossible ``k_layers``.
    """
    name, stages = (network, len(stage_names(network))) if isinstance(network, str) else (network.name, len(network))
    body = stages - 1
    if not body and strategy != UNFREEZE_ALL:
        raise ConfigError(f"{name} cannot be cut into stages and only trains whole; pass --strategies {UNFREEZE_ALL}")
    if strategy == FREEZE_ALL:
        return body
    if strategy in WHOLE:
        return 0
    if strategy != FREEZE_PARTIAL:
        raise ConfigError(f"unknown strategy {strategy!r}; choose from {', '.join(STRATEGIES)}")
    if k_layers is None or not 1 <= k_layers <= body:
        raise ConfigError(f"k_layers must be in 1..{body} for {FREEZE_PARTIAL} of {name}, got {k_layers}")
    return body - k_layers


@dataclass(frozen=True, kw_only=True, slots=True)
class BackbonesCommand:
    """Print the stages of the pretrained backbones, and how many parameters each strategy trains."""

    names: tyro.conf.Positional[tuple[str, ...]] = ()
    """Backbones to print. Default: all of torchvision's."""
    search: Annotated[str, "WORD"] = ""
    """Print timm's pretrained models whose name contains WORD instead: parameters, image size, classes, licence.
    Default: no search."""
    num_classes: int = 10
    """Number of classes of the head."""


def show(command: BackbonesCommand) -> None:
    """Print facts and stages of each backbone, or timm's models; ConfigError for an unknown name."""
    console = PlainConsole(soft_wrap=False)
    if command.search:
        from inat.models.timm_search import search_timm

        search_timm(command.search, console)
    for name in command.names or (() if command.search else BACKBONES):
        facts = _facts_of_timm(name) if is_timm(name) else _facts(get_backbone(name))
        network = without_memory(name, command.num_classes)
        note = [Text(f"{name} cannot be cut into more stages: {network.note}")] if network.note else []
        console.print(Text(name, "bold"), facts, *note, _stage_table(network), sep="\n")


def _facts(backbone: Backbone) -> Table:
    table = Table.grid(padding=(0, 2))
    steps = f", a multiple of {backbone.patch} px" if backbone.patch else ""
    table.add_row("images", f"{backbone.image_size} px, at least {backbone.min_size} px{steps}")
    table.add_row("normalised", " ".join(["by mean", *map(str, backbone.mean), "and std", *map(str, backbone.std)]))
    table.add_row("published", f"{backbone.top1} % top-1 on ImageNet with {backbone.parameters:,} parameters")
    table.add_row("weights", backbone.file_name)
    return table


def _facts_of_timm(name: str) -> Table:
    from inat.models.timm_backbones import timm_backbone

    backbone, table = timm_backbone(name), Table.grid(padding=(0, 2))
    table.add_row("images", f"{backbone.image_size} px, resized {backbone.interpolation}, crop {backbone.crop_pct:g}")
    table.add_row("normalised", " ".join(["by mean", *map(str, backbone.mean), "and std", *map(str, backbone.std)]))
    table.add_row("licence", backbone.license or "unknown")
    table.add_row("weights", backbone.published)
    return table


def _stage_table(network: StagedNetwork) -> Table:
    """One row per stage: its parameters, the strategy that trains this and all later stages, and how many it trains."""
    partial = [(FREEZE_PARTIAL, k) for k in range(len(network) - 2, 0, -1)]
    plans = [(UNFREEZE_ALL, None), *partial, (FREEZE_ALL, None)][: len(network)]
    table = Table("stage", Column("parameters", justify="right"), "trained from here on by")
    table.add_column("trainable", justify="right")
    for (stage, layers), (strategy, k_layers) in zip(network.named_children(), plans, strict=True):
        network.freeze(frozen_stage_count(network, strategy, k_layers))
        trainable = sum(p.numel() for p in network.parameters() if p.requires_grad)
        label = strategy if k_layers is None else f"{strategy}, k_layers={k_layers}"
        table.add_row(stage, f"{sum(p.numel() for p in layers.parameters()):,}", label, f"{trainable:,}")
    return table


if __name__ == "__main__":
    run_command(BackbonesCommand, show)
