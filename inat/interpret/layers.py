"""Which layers of a network the figures look at, and the outputs of these layers."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from math import isqrt

import torch
from torch import Tensor, nn
from torchvision.models.vision_transformer import EncoderBlock
from torchvision.ops import SqueezeExcitation

from inat.config.timm_names import is_timm
from inat.errors import ConfigError

# timm's squeeze-and-excitation blocks, and blocks whose tokens are not in the order of the patches: by the names of
# their classes, as timm need not be loaded for other networks.
SQUEEZE = frozenset({"SqueezeExcite", "SqueezeExciteCl", "SEModule", "EffectiveSEModule", "SEWithNorm"})
SHUFFLED = frozenset({"HieraBlock"})
POOLS = (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)


@dataclass(frozen=True, slots=True)
class Layer:
    """A module of a network with its name; ``tokens``: its output is a sequence of tokens, not a stack of maps.

    The first ``extra`` tokens are no patches: the class token, and registers.
    """

    name: str
    module: nn.Module
    tokens: bool = False
    extra: int = 1

    def maps(self, output: Tensor) -> Tensor:
        """The layer's output as maps (N, C, H, W).

        Tokens (N, extra + H * W, C) have the patches row by row, with H = W; tokens (N, H, W, C) are maps already.
        """
        if not self.tokens:
            return output
        if output.dim() == 4:
            return output.permute(0, 3, 1, 2)
        patches = output[:, self.extra :].transpose(1, 2)
        side = isqrt(patches.shape[2])
        maps: Tensor = patches.unflatten(2, (side, side))
        return maps


@contextmanager
def capture_outputs(modules: Mapping[str, nn.Module], keep: Callable[[Tensor], Tensor]) -> Iterator[dict[str, Tensor]]:
    """Within the block, collect ``keep(output)`` of each module's first call, by name and in order of execution.

    Outputs that are not tensors are skipped. ``keep`` must copy the output if a later activation works in place. The
    hooks are removed at the end of the block, also after an error.
    """
    outputs: dict[str, Tensor] = {}

    def hook_for(name: str) -> Callable[[nn.Module, object, object], None]:
        def hook(module: nn.Module, given: object, output: object) -> None:
            if name not in outputs and isinstance(output, Tensor):
                outputs[name] = keep(output)

        return hook

    with ExitStack() as stack:
        for name, module in modules.items():
            stack.enter_context(module.register_forward_hook(hook_for(name)))  # leaving the handle removes its hook
        yield outputs


def convolutions(net: nn.Module, images: Tensor) -> dict[str, nn.Conv2d]:
    """The convolution layers of ``net`` by name, in the order in which ``images`` (N, 3, H, W) pass them.

    Convolutions of squeeze-and-excitation blocks are left out: they see one number per channel, like a dense layer.
    So are convolutions after the global pooling, which some of timm's models have.
    """
    dense = {id(part) for block in net.modules() if _is_squeeze(block) for part in block.modules()}
    found = {n: m for n, m in net.named_modules() if isinstance(m, nn.Conv2d) and id(m) not in dense}
    with torch.no_grad(), capture_outputs(found, _empty_of_same_shape) as outputs:
        net(images)
    large = {name for name, output in outputs.items() if output.shape[2:].numel() > 1}
    return {name: found[name] for name in outputs if name in large or not large or not _of_timm(net)}


def _is_squeeze(module: nn.Module) -> bool:
    return isinstance(module, SqueezeExcitation) or type(module).__name__ in SQUEEZE


def _of_timm(net: nn.Module) -> bool:
    return is_timm(getattr(net, "name", ""))


def guided_backprop_layer(net: nn.Module, images: Tensor) -> Layer:
    """The layer whose neurons guided back-propagation explains: the convolution that is computed last.

    For a vision transformer it is ``token_layer``: its only convolution cuts the image into patches, with no activation
    before it, so guided gradients would only show the kernels. Raises ConfigError if there is no convolution.
    """
    if tokens := token_layer(net, images):
        return tokens
    found = convolutions(net, images)
    if not found:
        raise ConfigError("this network has no convolution layer; choose a model with one")
    name, module = list(found.items())[-1]
    return Layer(name, module)


def named_layer(net: nn.Module, images: Tensor, name: str) -> Layer:
    """The layer that the user calls ``name``: a convolution, or the tokens of a vision transformer.

    Raises ConfigError, which lists the layers, if there is none of this name.
    """
    tokens, found = token_layer(net, images), convolutions(net, images)
    if tokens and name == tokens.name:
        return tokens
    check_layers([name], [*found, *([tokens.name] if tokens else [])])
    return Layer(name, found[name])


def check_layers(wanted: Iterable[str], known: Iterable[str]) -> None:
    """Raise ConfigError, which lists the ``known`` layers, if one of ``wanted`` is not among them."""
    known = list(known)
    if unknown := [name for name in wanted if name not in known]:
        raise ConfigError(f"unknown convolution layer {unknown[0]!r}; choose from {', '.join(known)}")


def activated_layer(net: nn.Module, images: Tensor, layer: Layer) -> Layer:
    """Where the maps of the convolution ``layer`` have passed norm and activation: what Grad-CAM weighs.

    It is the last module that is computed before the next convolution and has maps of the same size. Of the last
    convolution, and of tokens, it is ``grad_cam_layer``.
    """
    last = guided_backprop_layer(net, images)
    if layer.tokens or layer.name == last.name:
        return grad_cam_layer(net, images)
    modules = {name: module for name, module in net.named_modules() if name and not isinstance(module, POOLS)}
    with torch.no_grad(), capture_outputs(modules, _empty_of_same_shape) as outputs:
        net(images)
    names, shape = list(outputs), outputs[layer.name].shape
    found = layer.name
    for name in names[names.index(layer.name) + 1 :]:
        if isinstance(modules[name], nn.Conv2d):
            break
        found = name if outputs[name].shape == shape else found
    return Layer(found, modules[found])


def grad_cam_layer(net: nn.Module, images: Tensor) -> Layer:
    """The layer whose maps Grad-CAM weights: the last one with maps of the same size as the last convolution's.

    This is the output of the last convolution after norm and activation, or of its block if branches join there, or if
    the convolution is pooled before its norm and activation. A pooling layer never counts. For a vision transformer it
    is ``token_layer``. Raises ConfigError if there is no convolution.
    """
    if tokens := token_layer(net, images):
        return tokens
    last = guided_backprop_layer(net, images)
    modules = {name: module for name, module in net.named_modules() if name and not isinstance(module, POOLS)}
    with torch.no_grad(), capture_outputs(modules, _empty_of_same_shape) as outputs:
        net(images)
    side = outputs[last.name].shape[2:]
    name = [name for name, output in outputs.items() if output.dim() == 4 and output.shape[2:] == side][-1]
    if name == last.name:
        name = next((block for block in _around(name) if block in outputs and _is_map(outputs[block])), name)
    return Layer(name, modules[name])


def _around(name: str) -> Iterator[str]:
    """The names of the modules that contain the module called ``name``, from the innermost on.

    >>> list(_around("stage3.branch.conv2"))
    ['stage3.branch', 'stage3']
    """
    while "." in name:
        name = name.rpartition(".")[0]
        yield name


def _is_map(output: Tensor) -> bool:
    return output.dim() == 4 and output.shape[2:].numel() > 1


def _empty_of_same_shape(output: Tensor) -> Tensor:
    return output.new_empty((0, *output.shape[1:]))


def token_layer(net: nn.Module, images: Tensor) -> Layer | None:
    """The layer norm before the attention of a vision transformer's last encoder block; None for other networks.

    After this block the logits may depend on the class token alone, so the patch tokens have no gradient there.
    """
    if _of_timm(net):
        return _token_layer_of_timm(net, images)
    encoders = [(name, module) for name, module in net.named_modules() if isinstance(module, EncoderBlock)]
    if not encoders:
        return None
    name, block = encoders[-1]
    return Layer(f"{name}.ln_1", block.ln_1, tokens=True)


def _token_layer_of_timm(net: nn.Module, images: Tensor) -> Layer | None:
    """The first norm of the last block, if only the first stage, which makes the patches, has convolutions."""
    late = [module for stage in list(net.children())[1:] for module in stage.modules()]
    blocks = [(name, module) for name, module in net.named_modules() if _is_token_block(module)]
    if not blocks or any(isinstance(module, nn.Conv2d) for module in late):
        return None
    name, norm = f"{blocks[-1][0]}.norm1", blocks[-1][1].get_submodule("norm1")
    patches = {name: module for name, module in net.named_modules() if isinstance(module, nn.Conv2d)}
    with torch.no_grad(), capture_outputs({**patches, name: norm}, _empty_of_same_shape) as outputs:
        net(images)
    shape = outputs.pop(name).shape
    count = [output.shape[2:].numel() for output in outputs.values()][-1]
    return Layer(name, norm, tokens=True, extra=shape[1] - count if len(shape) == 3 else 0)


def _is_token_block(module: nn.Module) -> bool:
    return isinstance(getattr(module, "norm1", None), nn.Module) and type(module).__name__ not in SHUFFLED
