"""A GPU without values: trainings run on fake CUDA tensors, and a watch counts what would slow down a real GPU.

Fake tensors have a device, a type and a shape. Whatever reads a value of one would make the host wait for the GPU.
torch cannot run a backward pass on them, so gradients appear without one.
"""

import re
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_leaves

from tests.paths import ROOT

MEMORY = 16 * 2**30
# Operations whose result depends on values: the host must know its shape, or it checks the result.
READING = frozenset({
    "_local_scalar_dense", "nonzero", "masked_select", "bincount", "histc", "multinomial", "_unique", "_unique2",
    "unique_dim", "unique_consecutive", "is_nonzero", "equal", "_linalg_check_errors", "repeat_interleave",
})  # fmt: skip
OF_TORCH = re.compile(r"torch/(_compile|_dynamo|_ops|_subclasses|utils/_)")  # files that lie between mode and caller
# Operations that start no kernel: they make tensors without values, or other views.
FREE = frozenset({
    "alias", "as_strided", "chunk", "detach", "device", "empty", "empty_like", "empty_strided", "expand", "lift",
    "lift_fresh", "new_empty", "new_empty_strided", "permute", "select", "slice", "split", "split_with_sizes",
    "squeeze", "t", "tensor_split", "transpose", "unbind", "unfold", "unsqueeze", "view", "_reshape_alias",
    "_unsafe_view", "set_", "is_pinned", "result_type",
})  # fmt: skip


class _Mode(FakeTensorMode):
    avoid_device_init = True  # though torch.cuda.is_available() says in these tests that there is a GPU


# One for all tests: caches of this project and of torch keep tensors of it.
MODE = _Mode(allow_non_fake_inputs=True)


@dataclass
class Counts:
    """What one batch does on the GPU: kernels and the bytes that they touch, by operation, and waits of the host."""

    batches: int = 0
    kernels: Counter[str] = field(default_factory=Counter)
    bytes: Counter[str] = field(default_factory=Counter)
    waits: list[str] = field(default_factory=list)


class Watch(TorchDispatchMode):
    """Counts what operations do: in ``training`` or ``validation``, whichever is ``now``, or nowhere."""

    def __init__(self) -> None:
        super().__init__()
        self.training, self.validation = Counts(), Counts()
        self.now: Counts | None = None

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = func.name().partition("::")[2].partition(".")[0]
        given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        on_gpu = any(tensor.device.type == "cuda" for tensor in given)
        if on_gpu and (name in READING or (name.startswith("index") and _has_mask(args))):
            self._add_wait(f"{name} waits for the GPU")
        if name == "_local_scalar_dense":
            return _value_of(given[0])
        result = _result_of(name, func, args, kwargs)
        made = [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        if name in ("_to_copy", "copy_"):
            self._check_copy(name, given, made[0], args, kwargs)
        if self.now and name not in FREE and (touched := [t for t in given + made if t.device.type == "cuda"]):
            self.now.kernels[name] += 1
            self.now.bytes[name] += sum(tensor.nbytes for tensor in touched)
        return result

    def _check_copy(self, name: str, given: list[Tensor], result: Tensor, args: tuple[Any, ...], kwargs: Any) -> None:
        source, target = given[0 if name == "_to_copy" else -1].device.type, result.device.type
        waits = not kwargs.get("non_blocking", name == "copy_" and len(args) > 2 and args[2])
        if source != target and "cuda" in (source, target) and waits:
            self._add_wait(f"a copy from {source} to {target} waits")

    def _add_wait(self, what: str) -> None:
        if self.now:
            self.now.waits.append(f"{what}: {_place()}")


def _result_of(name: str, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if name == "_fused_sgd_":  # which has no fake form
        return None
    if name in ("randint", "rand") and torch.device(kwargs.get("device") or "cpu").type == "cpu":
        with _disable_current_modes():  # the host branches on its random numbers
            drawn = func(*args, **kwargs)
        return MODE.fake_tensor_converter.from_real_tensor(MODE, drawn, make_constant=True)
    return func(*args, **kwargs)


def _value_of(tensor: Tensor) -> Any:
    """A value for the host: the one that torch knows of a constant in its own memory, else one of the right type."""
    constant = getattr(tensor, "constant", None)
    if constant is not None:
        return constant.item()
    return True if tensor.dtype == torch.bool else 1.0 if tensor.is_floating_point() else 0


def _has_mask(args: tuple[Any, ...]) -> bool:
    indices = args[1] if len(args) > 1 and isinstance(args[1], list | tuple) else ()
    return any(isinstance(index, Tensor) and index.dtype in (torch.bool, torch.uint8) for index in indices)


def _place() -> str:
    """The line of this project that is being run, and the line of the library that it has called."""
    frames = [f for f in traceback.extract_stack() if f.filename != __file__ and not OF_TORCH.search(f.filename)]
    own = [f for f in frames if f.filename.startswith(f"{ROOT}/inat/")]
    lines = [own[-1], frames[-1]] if own and own[-1] is not frames[-1] else [frames[-1]]
    return ", in ".join(f"{f.filename.removeprefix(f'{ROOT}/')}:{f.lineno} ({f.line})" for f in lines)


def _without_backward(module: pl.LightningModule, loss: Tensor, *args: Any, **kwargs: Any) -> None:
    for parameter in module.parameters():
        if parameter.requires_grad:
            parameter.grad = torch.empty_like(parameter)


def _deep_copy(tensor: Tensor, memo: dict[int, Any]) -> Tensor:
    copied = tensor.detach().clone()
    memo[id(tensor)] = nn.Parameter(copied, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else copied
    return memo[id(tensor)]


def _replace_tensors(module: nn.Module, change: Callable[[Tensor], Tensor], recurse: bool = True) -> nn.Module:
    """As ``nn.Module._apply``, which cannot change the device of a fake parameter: new parameters take their place."""
    for child in module.children():
        child._apply(change)
    for name, parameter in module._parameters.items():
        if parameter is not None:
            module._parameters[name] = nn.Parameter(change(parameter.detach()), parameter.requires_grad)
    for name, buffer in module._buffers.items():
        if buffer is not None:
            module._buffers[name] = change(buffer)
    return module


CUDA: dict[str, Callable[..., Any]] = {
    "is_available": lambda: True,
    "device_count": lambda: 1,
    "current_device": lambda: 0,
    "set_device": lambda device: None,
    "empty_cache": lambda: None,
    "synchronize": lambda device=None: None,
    "is_bf16_supported": lambda including_emulation=True: True,
    "get_device_capability": lambda device=None: (9, 0),
    "get_device_name": lambda device=None: "fake GPU",
    "get_arch_list": lambda: ["sm_90"],
    "mem_get_info": lambda device=None: (MEMORY, MEMORY),
    "manual_seed_all": lambda seed: None,
}


@contextmanager
def fake_cuda(capability: tuple[int, int] = (9, 0)) -> Iterator[Watch]:
    """In this context, torch has a GPU of fake tensors, and the watch sees all operations."""
    changes = {"get_device_capability": lambda device=None: capability}
    changes["is_bf16_supported"] = lambda including_emulation=True: capability >= (8, 0)
    with ExitStack() as stack:
        for name, value in (CUDA | changes).items():
            stack.enter_context(patch.object(torch.cuda, name, value))
        stack.enter_context(patch.object(pl.LightningModule, "backward", _without_backward))
        stack.enter_context(patch("lightning_fabric.accelerators.cuda.num_cuda_devices", lambda: 1))
        stack.enter_context(patch("pytorch_lightning.accelerators.cuda.num_cuda_devices", lambda: 1))
        stack.enter_context(patch.object(FakeTensor, "__deepcopy__", _deep_copy))  # torch's would copy the storage
        stack.enter_context(patch.object(nn.Module, "_apply", _replace_tensors))
        stack.enter_context(MODE)
        yield stack.enter_context(Watch())


class SecondBatch(pl.Callback):
    """Turns the watch on for the second batch of each epoch, from the end of the first one to its own end."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self._ended(self.watch.training, batch_idx)

    def on_validation_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self._ended(self.watch.validation, batch_idx)

    def on_validation_start(self, trainer: Any, pl_module: Any) -> None:
        self.watch.now = None

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        self.watch.now = None

    def _ended(self, counts: Counts, batch_idx: int) -> None:
        self.watch.now = counts if batch_idx == 0 else None
        counts.batches += batch_idx == 1
