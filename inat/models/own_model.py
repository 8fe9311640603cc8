"""Build a network of the user, whole or as stages of which the first can be frozen."""

import hashlib
import json
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import fields
from functools import lru_cache
from pathlib import PurePath
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from inat.config.optim import OptimConfig
from inat.config.own_model import OwnModelConfig
from inat.errors import ConfigError
from inat.models.own_code import OwnCode, code_error, own_code
from inat.models.stages import HEAD, StagedNetwork

BODY_SEED = 0  # all trials with frozen stages start from the same ones


def code_of(config: OwnModelConfig) -> OwnCode:
    """The functions of the file of a network; ConfigError if the user has not named this very file."""
    return own_code(config.model_sha256, config.function, config.model)


def build_own(config: OwnModelConfig, image_size: int, num_classes: int, optim: OptimConfig | None = None) -> nn.Module:
    """Call the user's function; torch's random numbers initialise the network.

    A LightningModule also gets those settings of ``optim`` that are among its arguments. Raises ConfigError if the
    function raises, or if it returns something else than a network.
    """
    code = code_of(config)
    training = training_arguments(code, optim) if optim is not None else {}
    arguments = {"num_classes": num_classes, "image_size": image_size, **training, **config.values()}
    try:
        network = code.build(**arguments)
    except (Exception, SystemExit) as error:
        raise ConfigError(code_error(code.file, f"{code.file.function}({_shown(arguments)})", error)) from error
    if not isinstance(network, nn.Module):
        raise ConfigError(
            f"{code.name} must return a torch.nn.Module, got {type(network).__name__}; return the network"
        )
    if any(is_lazy(parameter) for parameter in network.parameters()):
        _infer_shapes(network, code, image_size)
    return network


def training_arguments(code: OwnCode, optim: OptimConfig) -> dict[str, Any]:
    """The settings of the training that a LightningModule takes as arguments, such as ``learning_rate``."""
    names = {f.name for f in fields(OptimConfig)} & code.arguments.keys()
    return {name: getattr(optim, name) for name in names if code.is_module}


def _infer_shapes(network: nn.Module, code: OwnCode, image_size: int) -> None:
    mode = network.training
    try:
        with torch.no_grad():
            network.eval()(torch.zeros(2, 3, image_size, image_size))
    except (Exception, SystemExit) as error:
        raise ConfigError(code_error(code.file, f"the network with images of {image_size} px", error)) from error
    network.train(mode)


def _shown(arguments: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in arguments.items())


def own_stages(config: OwnModelConfig, image_size: int, num_classes: int) -> StagedNetwork:
    """The network as stages that all trials of this process share, so nothing may change them.

    ``weights`` identifies the file, the arguments and the values of the body. Raises ConfigError if the file has no
    function ``stages()``, or if that gives no list of at least two modules.
    """
    return _shared_stages(config.model, config.model_sha256, tuple(config.arguments), image_size, num_classes)


@lru_cache(maxsize=1)  # a grid trains one network after the other
def _shared_stages(
    model: str, sha256: str, arguments: tuple[tuple[str, Any], ...], image_size: int, num_classes: int
) -> StagedNetwork:
    config = OwnModelConfig(model=model, model_sha256=sha256, arguments=arguments)
    with torch.random.fork_rng(devices=[]):  # a head must not depend on whether its trial found the body in this cache
        torch.manual_seed(BODY_SEED)
        network = build_own(config, image_size, num_classes)
    staged = as_stages(network, code_of(config))
    digest = hashlib.sha256(json.dumps([model, sha256, arguments, image_size]).encode())
    for name, tensor in staged.state_dict().items():
        if not name.startswith(f"{HEAD}."):
            digest.update(name.encode())
            digest.update(_bytes_of(tensor))
    staged.weights = f"own {digest.hexdigest()}"
    return staged.requires_grad_(False).eval().to(memory_format=torch.channels_last)


def _bytes_of(tensor: Tensor) -> bytes:
    data: bytes = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    return data


def as_stages(network: nn.Module, code: OwnCode) -> StagedNetwork:
    """The stages that the user's function ``stages()`` cuts ``network`` into; the last one is named "head"."""
    if code.stages is None:
        raise ConfigError(f"{code.file.path} has no function stages(model), which strategies need; define it")
    try:
        given = code.stages(network)
    except (Exception, SystemExit) as error:
        raise ConfigError(code_error(code.file, "stages()", error)) from error
    named = list(given.items()) if isinstance(given, Mapping) else _numbered(given)
    if len(named) < 2 or not all(isinstance(module, nn.Module) for _, module in named):
        raise ConfigError(
            f"stages() of {code.file.path} must return at least two modules, the last of which is the head, got "
            f"{type(given).__name__} of {len(named)}; return a list or a dict of them"
        )
    names = [str(name).replace(".", "_") for name, _ in named[:-1]]
    if HEAD in names:
        raise ConfigError(f"stages() of {code.file.path} calls a stage head that is not the last; rename it")
    stages = OrderedDict(zip([*names, HEAD], [module for _, module in named], strict=True))
    return StagedNetwork(stages, PurePath(code.file.path.name).stem, outputs=(HEAD,))


def _numbered(given: Any) -> list[tuple[str, Any]]:
    try:
        return [(f"stage{number}", module) for number, module in enumerate(given, 1)]
    except TypeError:
        return []
