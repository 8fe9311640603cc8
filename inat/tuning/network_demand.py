"""Count what the networks of a space demand of a GPU, on tensors without values."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import optuna
import torch
from optuna.samplers import RandomSampler
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode

from inat.config.backbones import BackboneConfig
from inat.config.search import SearchConfig
from inat.config.small_resnet import ScratchNetwork
from inat.config.trial import SHIFT, TrialConfig
from inat.constants import DIGITS
from inat.errors import ConfigError
from inat.models.factory import build_network, uninitialised_network
from inat.models.small_resnet import build_scratch
from inat.models.stages import StagedNetwork
from inat.training.inputs import ruled_out
from inat.tuning.demand import PASSES, Demand, SpaceDemand
from inat.tuning.space.domains import optuna_space
from inat.tuning.task import Task, check_task, data_configs

DRAWS = 24  # configurations of a space that are counted
IMAGES = 2  # batch norm refuses a single one


def demand_of_space(config: SearchConfig) -> SpaceDemand:
    """Count networks that trials of ``config`` may get, without decoding its images."""
    task = check_task(replace(config, download=False, wandb="off", start_from=None, learn_from=()))
    classes, seen = len(task.data.classes), {}
    for params in _drawn(task):
        try:
            trial = TrialConfig.from_params({**task.config.trial_settings(), **params})
        except ConfigError:  # such as too many poolings; this trial would fail at once
            continue
        key = repr((trial.model, trial.data.image_size, trial.optim.step_images))
        if key not in seen:
            seen[key] = demand_of(trial, classes)
    return SpaceDemand(tuple(seen.values()), _picture_bytes(task))


def _drawn(task: Task) -> Sequence[Mapping[str, Any]]:
    if task.grid:
        return task.grid[:: max(1, len(task.grid) // DRAWS)]
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=RandomSampler(seed=0))
    distributions = optuna_space(task.space)
    return [study.ask(distributions).params for _ in range(DRAWS)]


def _picture_bytes(task: Task) -> int:
    """Bytes of the images in their first form; trials cut augmented crops from larger copies."""
    form = data_configs(task.config, task.space)[0]
    images, side = task.data.images, form.image_size
    if not form.use_augmentation or form.policy == SHIFT or form.data == DIGITS:
        return 3 * images * side**2
    return 3 * images * form.crop_size**2 + 3 * round(form.val_share * images) * side**2


def demand_of(trial: TrialConfig, num_classes: int) -> Demand:
    """Count a training step of a network on tensors without values."""
    network, side = _without_values(trial, num_classes).train(), trial.data.image_size
    images = torch.empty(IMAGES, 3, side, side, device="meta")
    network, images, once = _trained_part(trial, network, images)
    own = {id(parameter.untyped_storage()) for parameter in network.parameters()}
    saved: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        if (place := id(tensor.untyped_storage())) not in own:
            saved[place] = tensor  # which keeps the place from being given to another tensor
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor), FlopCounterMode(display=False) as counter, _Calls() as calls:
        network(images)
    return Demand(
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        image_bytes=sum(tensor.untyped_storage().nbytes() for tensor in saved.values()) // IMAGES,
        operations=(counter.get_total_flops() + once // PASSES) // IMAGES,
        calls=calls.count,
        images=trial.optim.step_images,
    )


def _trained_part(trial: TrialConfig, network: nn.Module, images: Tensor) -> tuple[nn.Module, Tensor, int]:
    """The stages that train, their input, and the operations of the frozen ones, which only run forward.

    The latter are none where their outputs are kept.
    """
    if not isinstance(network, StagedNetwork) or not network.frozen:
        return network, images, 0
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        features = network.prefix()(images)
    kept = not isinstance(trial.model, ScratchNetwork) and trial.model.views > 0 and not ruled_out(trial)
    return network.suffix().train(), features, 0 if kept else counter.get_total_flops()


def _without_values(trial: TrialConfig, num_classes: int) -> nn.Module:
    model, side = trial.model, trial.data.image_size
    if isinstance(model, ScratchNetwork):
        with torch.device("meta"):
            return build_scratch(model, side, num_classes)
    if isinstance(model, BackboneConfig):
        return uninitialised_network(model, side, num_classes).to("meta")
    return build_network(trial, num_classes).to("meta")


class _Calls(TorchFunctionMode):
    """Counts operators, without the reading of attributes such as ``shape``."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += getattr(function, "__name__", "") != "__get__"
        return function(*args, **(kwargs or {}))
