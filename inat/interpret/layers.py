"""The layers of a network that can be looked at, and their outputs; hooks go with the block that set them."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from math import isqrt

import torch
from torch import Tensor, nn
from torchvision.models.vision_transformer import EncoderBlock
from torchvision.ops import SqueezeExcitation

from inat.errors import ConfigError

POOLS = (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)


@dataclass(frozen=True, slots=True)
class Layer:
    """A module of a network whose output is a stack of maps, as it is or after ``maps``; ``name`` is for people."""

    name: str
    module: nn.Module
    tokens: bool = False

    def maps(self, output: Tensor) -> Tensor:
        """The output as maps (N, C, H, W). Of tokens (N, 1 + H * W, C), the first of which is the class's, the others.

        These stand in the order of the patches, and there are as many down as across.
        """
        if not self.tokens:
            return output
        patches = output[:, 1:].transpose(1, 2)
        side = isqrt(patches.shape[2])
        maps: Tensor = patches.unflatten(2, (side, side))
        return maps


@contextmanager
def outputs_of(modules: Mapping[str, nn.Module], keep: Callable[[Tensor], Tensor]) -> Iterator[dict[str, Tensor]]:
    """What ``keep`` makes of the first output of each module within the block, by name and in order of execution.

    Outputs that are no tensor are left out. An activation in place, which comes later, changes what is not copied.
    """
    seen: dict[str, Tensor] = {}

    def hook_of(name: str) -> Callable[[nn.Module, object, object], None]:
        def hook(module: nn.Module, given: object, output: object) -> None:
            if name not in seen and isinstance(output, Tensor):
                seen[name] = keep(output)

        return hook

    with ExitStack() as stack:
        for name, module in modules.items():
            stack.enter_context(module.register_forward_hook(hook_of(name)))  # a handle removes its hook as it is left
        yield seen


def convolutions(net: nn.Module, images: Tensor) -> dict[str, nn.Conv2d]:
    """The convolution layers of ``net`` by name, in the order in which ``images`` (N, 3, H, W) go through them.

    Those of squeeze-and-excitation blocks are left out: they work on one number a channel, as dense layers do.
    """
    dense = {id(part) for block in net.modules() if isinstance(block, SqueezeExcitation) for part in block.modules()}
    found = {n: m for n, m in net.named_modules() if isinstance(m, nn.Conv2d) and id(m) not in dense}
    with torch.no_grad(), outputs_of(found, _nothing) as seen:
        net(images)
    return {name: found[name] for name in seen}


def _nothing(output: Tensor) -> Tensor:
    return output.new_empty(0)


def last_convolution(net: nn.Module, images: Tensor) -> Layer:
    """The layer whose neurons guided back-propagation shows: the convolution that is computed last.

    The only convolution of a vision transformer cuts it into patches, with no activation before it: guided
    back-propagation would just show the kernels. There it is what the last encoder layer reads, ``token_layer``.
    """
    if tokens := token_layer(net):
        return tokens
    found = convolutions(net, images)
    if not found:
        raise ConfigError("this network has no convolution layer to look at")
    name, module = list(found.items())[-1]
    return Layer(name, module)


def last_maps(net: nn.Module, images: Tensor) -> Layer:
    """The layer that Grad-CAM weighs: the last one with maps of the size of the last convolution's.

    That is its output after norm and activation, or that of the block it is in, where several branches meet. What
    pools comes behind it. Of a vision transformer, see ``token_layer``.
    """
    if tokens := token_layer(net):
        return tokens
    last = last_convolution(net, images)
    modules = {name: module for name, module in net.named_modules() if name and not isinstance(module, POOLS)}
    with torch.no_grad(), outputs_of(modules, _nothing_of_that_shape) as seen:
        net(images)
    side = seen[last.name].shape[2:]
    name = [name for name, output in seen.items() if output.dim() == 4 and output.shape[2:] == side][-1]
    return Layer(name, modules[name])


def _nothing_of_that_shape(output: Tensor) -> Tensor:
    return output.new_empty((0, *output.shape[1:]))


def token_layer(net: nn.Module) -> Layer | None:
    """The normed tokens that the last encoder layer of a vision transformer reads; None for other networks.

    Behind it only the class token counts, so that the patches' tokens have no gradient there.
    """
    encoders = [(name, module) for name, module in net.named_modules() if isinstance(module, EncoderBlock)]
    if not encoders:
        return None
    name, block = encoders[-1]
    return Layer(f"{name}.ln_1", block.ln_1, tokens=True)
