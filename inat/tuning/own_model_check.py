"""Try a user's own network before the search: build it, and train it on one batch of noise.

What a trial would fail with after minutes, on a worker, is one sentence within seconds, with the line in the user's
file.
"""

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from torch import Tensor, nn
from torch.nn import functional

from inat.config.own_model import OwnModelConfig
from inat.config.search import SearchConfig
from inat.config.trial import TrialConfig
from inat.errors import ConfigError
from inat.models.backbones import frozen_stage_count
from inat.models.classifier import Classifier
from inat.models.factory import build_classifier
from inat.models.own_code import OwnCode, code_error
from inat.models.own_model import as_stages, build_own
from inat.models.own_training import missing_methods
from inat.training.fit import silence_lightning
from inat.tuning.network_timing import NoiseImages
from inat.tuning.space.domains import boundary_values
from inat.tuning.space.own_space import code_named_by, strategies_of

BATCH = 4  # images; batch norm needs more than one
MOST_VALUES = 24  # of the hyperparameters that are tried one by one


@dataclass(frozen=True, slots=True)
class OwnNetwork:
    """What a check finds out: parameters of the first configuration, stages (0: none), and remarks for the user."""

    parameters: int
    stages: int
    notes: tuple[str, ...]


def check_own_model(config: SearchConfig, space: Mapping[str, Any], num_classes: int) -> OwnNetwork:
    """Build and train the network with the first value of each hyperparameter; build it with each other value.

    Raises ConfigError for a network that cannot be trained. The random numbers of this process do not change.
    """
    code = code_named_by(config)
    first = {name: boundary_values(domain)[0] for name, domain in space.items()}
    trial = TrialConfig.from_params({**config.trial_settings(), **first})
    assert isinstance(trial.model, OwnModelConfig)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = build_own(trial.model, trial.data.image_size, num_classes, trial.optim)
        found = _check_network(network, trial, code, num_classes)
        stages = _check_stages(network, space, trial, code)
        _check_one_step(trial, code, num_classes)
        _check_classes(trial, code, num_classes)
        for name, value in _other_values(space, code):
            _check_value(TrialConfig.from_params({**config.trial_settings(), **first, name: value}), code, num_classes)
    return replace(found, stages=stages)


def _check_network(network: nn.Module, trial: TrialConfig, code: OwnCode, num_classes: int) -> OwnNetwork:
    trainable = [parameter for parameter in network.parameters() if parameter.requires_grad]
    if not trainable:
        raise ConfigError(f"the network of {code.name} has no parameter to train; return one with layers")
    if devices := {str(p.device) for p in network.parameters()} - {"cpu"}:
        raise ConfigError(
            f"{code.name} puts its network on {', '.join(sorted(devices))}; leave it on the CPU, and each trial moves "
            "it to its device"
        )
    if wrong := [name for name, value in network.state_dict().items() if not isinstance(value, Tensor)]:
        raise ConfigError(
            f"the state dict of {code.name} has {wrong[0]}, which is no tensor; register buffers, and leave out "
            "get_extra_state"
        )
    if code.is_module and (missing := missing_methods(network)):  # type: ignore[arg-type]
        raise ConfigError(f"{code.name} is a LightningModule without {', '.join(missing)}; define them")
    if code.is_module and not network.automatic_optimization:
        raise ConfigError(
            f"{code.name} sets automatic_optimization to False, which is not supported here; return the loss from "
            "training_step"
        )
    return OwnNetwork(sum(parameter.numel() for parameter in trainable), 0, ())


def _check_stages(network: nn.Module, space: Mapping[str, Any], trial: TrialConfig, code: OwnCode) -> int:
    """The number of stages if the space has strategies; they must compute what the whole network computes."""
    if not (strategies := strategies_of(space)):
        return 0
    whole = copy.deepcopy(network).eval()
    staged = as_stages(network, code).eval()
    images = noise(trial.data.image_size)
    with torch.no_grad():
        try:
            outputs = staged(images)
        except Exception as error:
            raise ConfigError(code_error(code.file, "the stages one after the other", error)) from error
        same = isinstance(outputs, Tensor) and torch.equal(outputs, whole(images))
    if not same:
        raise ConfigError(
            f"stages() of {code.file.path} does not compute what the network does: one after the other, they give "
            "other outputs; make every step of forward() a module in one of them"
        )
    body = len(staged) - 1
    for strategy, k_layers in strategies:
        frozen_stage_count(staged, strategy, k_layers)
        if k_layers == body:
            raise ConfigError(
                f"k_layers {k_layers} would train all {body} stages before the head of {code.name}; pass --k-layers "
                "with smaller numbers, or take unfreeze_all"
            )
    return len(staged)


def noise(image_size: int) -> Tensor:
    """A batch of normalised noise in the layout of a training."""
    images = torch.randn(BATCH, 3, image_size, image_size, generator=torch.Generator().manual_seed(0))
    return images.contiguous(memory_format=torch.channels_last)


def _check_one_step(trial: TrialConfig, code: OwnCode, num_classes: int) -> None:
    """One training step and one pass in eval mode, as a trial makes them."""
    classifier = build_classifier(trial, num_classes).to(memory_format=torch.channels_last)
    network, images = classifier.net, noise(trial.data.image_size)
    labels = torch.arange(BATCH) % num_classes
    _check_outputs(_outputs(network.eval(), images, trial, code), trial, code, num_classes)
    outputs = _outputs(network.train(), images, trial, code)
    _check_outputs(outputs, trial, code, num_classes)
    if code.is_module:
        _check_training_step(classifier, trial, code, num_classes)
        return
    loss = functional.cross_entropy(outputs.float(), labels)
    if loss.requires_grad:
        loss.backward()
    gradients = [p.grad for p in network.parameters() if p.requires_grad and p.grad is not None]
    if not any(bool(gradient.any()) for gradient in gradients):
        raise ConfigError(
            f"no gradient reaches a parameter of {code.name}; its forward() must not detach its outputs or run under "
            "no_grad"
        )
    if not all(bool(gradient.isfinite().all()) for gradient in gradients):
        raise ConfigError(f"{code.name} has gradients that are infinite or NaN in its first step; check its forward()")


def _check_training_step(classifier: Classifier, trial: TrialConfig, code: OwnCode, num_classes: int) -> None:
    """One step of a LightningModule with its own loss and optimizer, in a trainer like that of a trial."""
    silence_lightning()
    before = [parameter.detach().clone() for parameter in classifier.net.parameters()]
    trainer = pl.Trainer(
        max_epochs=1, accelerator="cpu", devices=1, limit_train_batches=1, limit_val_batches=1, logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0,
        plugins=[LightningEnvironment()],
    )  # fmt: skip
    try:
        trainer.fit(classifier, datamodule=NoiseImages(trial.data, BATCH, num_classes))
    except ConfigError:
        raise
    except (Exception, SystemExit) as error:
        raise ConfigError(code_error(code.file, "its first training step", error)) from error
    after = list(classifier.net.parameters())
    if not all(bool(parameter.isfinite().all()) for parameter in after):
        raise ConfigError(f"the first training step of {code.name} leaves infinite or NaN parameters; check its loss")
    if all(torch.equal(old, new) for old, new in zip(before, after, strict=True)):
        raise ConfigError(f"the first training step of {code.name} changes no parameter; check its loss and optimizer")


def _outputs(network: nn.Module, images: Tensor, trial: TrialConfig, code: OwnCode) -> Any:
    mode = "training" if network.training else "evaluation"
    try:
        return network(images)
    except (Exception, SystemExit) as error:
        doing = f"the network in {mode} with {BATCH} images of {trial.data.image_size} px"
        raise ConfigError(code_error(code.file, doing, error)) from error


def _check_outputs(outputs: Any, trial: TrialConfig, code: OwnCode, num_classes: int) -> None:
    if not isinstance(outputs, Tensor):
        raise ConfigError(
            f"the network of {code.name} gives {type(outputs).__name__}, not a tensor of logits (N, num_classes); "
            "return only that from forward()"
        )
    if outputs.shape != (BATCH, num_classes):
        raise ConfigError(
            f"the network of {code.name} gives outputs of shape {tuple(outputs.shape)} for {BATCH} images and "
            f"{num_classes} classes; they must be ({BATCH}, {num_classes}): end it with num_classes outputs"
        )
    if not outputs.dtype.is_floating_point:
        raise ConfigError(f"the network of {code.name} gives numbers of type {outputs.dtype}; return logits in float32")
    if not bool(outputs.isfinite().all()):
        raise ConfigError(f"the network of {code.name} gives infinite or NaN outputs for noise; check its forward()")
    sums = outputs.detach().float().sum(1)
    if bool((outputs >= 0).all()) and torch.allclose(sums, torch.ones_like(sums), atol=1e-3):
        raise ConfigError(f"the network of {code.name} gives probabilities; return logits, without softmax")


def _check_classes(trial: TrialConfig, code: OwnCode, num_classes: int) -> None:
    """A network for one class more must have one output more: otherwise the number is written into the file."""
    assert isinstance(trial.model, OwnModelConfig)
    network = build_own(trial.model, trial.data.image_size, num_classes + 1, trial.optim).eval()
    with torch.no_grad():
        outputs = _outputs(network, noise(trial.data.image_size), trial, code)
    if not isinstance(outputs, Tensor) or outputs.shape[-1] != num_classes + 1:
        raise ConfigError(
            f"{code.name} ignores num_classes: its network for {num_classes + 1} classes has "
            f"{outputs.shape[-1] if isinstance(outputs, Tensor) else 'no'} outputs; use num_classes in its last layer"
        )


def _other_values(space: Mapping[str, Any], code: OwnCode) -> Iterator[tuple[str, Any]]:
    """Each hyperparameter of the network with its values after the first, at most MOST_VALUES in all."""
    names = [name for name in space if name in code.arguments or code.any_argument]
    values = [(name, value) for name in names for value in boundary_values(space[name])[1:]]
    yield from values[:MOST_VALUES]


def _check_value(trial: TrialConfig, code: OwnCode, num_classes: int) -> None:
    assert isinstance(trial.model, OwnModelConfig)
    size = trial.data.image_size
    try:
        network = build_own(trial.model, size, num_classes, trial.optim).eval().to(memory_format=torch.channels_last)
        with torch.no_grad():
            _check_outputs(_outputs(network, noise(size), trial, code), trial, code, num_classes)
    except ConfigError as error:
        values = ", ".join(f"{name}={value!r}" for name, value in trial.model.arguments)
        with_values = [f"{problem} (with {values})" for problem in error.problems]
        raise ConfigError(*with_values) from error
