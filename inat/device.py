"""The device of this process: one rule for training, features, inference, races and the timing of networks.

A trial computes on the GPU that it has a share of, and on the CPU if its share is 0, even where it sees GPUs. A process
to which nobody gave a share takes a GPU if there is one: CUDA's (or ROCm's) first, then Apple's. torch is loaded by the
functions: commands report wrong options before.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Literal

from inat.errors import ConfigError
from inat.gpus import survey, unavailable_error

if TYPE_CHECKING:
    import torch

Kind = Literal["cpu", "cuda", "mps"]
# Memory of a process on a GPU besides its tensors: kernels, handles and work space of the libraries of CUDA.
CONTEXT_BYTES = 800_000_000
VISIBLE = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES")

_share: float | None = None  # of a GPU; None if nobody has said


@contextmanager
def gpu_share(share: float | None) -> Iterator[None]:
    """Let this process compute on the GPU if ``share`` is above 0, on the CPU if it is 0, else on what there is."""
    global _share
    before, _share = _share, share
    try:
        with _hidden() if share == 0 else nullcontext():
            yield
    finally:
        _share = before


def claim_share() -> None:
    """Keep to the share of this process; ConfigError if torch cannot use its GPU: nothing trains on the CPU unasked."""
    if not _share:
        return
    if kind() == "cpu":
        raise ConfigError(survey().problem or unavailable_error(""))
    if _share < 1:
        _limit_memory(_share)


@contextmanager
def _hidden() -> Iterator[None]:
    """Hide the GPUs from CUDA and ROCm unless they are in use, and from processes that start meanwhile.

    Otherwise an optimizer of torch 2.15 that steps on the CPU asks a GPU that it sees whether it records a graph, which
    takes memory of it for each process.
    """
    before = {name: os.environ.get(name) for name in VISIBLE}
    os.environ.update(dict.fromkeys(VISIBLE, ""))
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


def kind() -> Kind:
    """The kind of device that this process computes on, which is also Lightning's name of the accelerator."""
    import torch

    if _share == 0:
        return "cpu"
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def this_device() -> "torch.device":
    """The device that this process computes on.

    >>> with gpu_share(0):
    ...     this_device()
    device(type='cpu')
    """
    import torch

    return torch.device(kind())


def gpu_count() -> int:
    """How many GPUs of this machine are of the kind that this process computes on; 0 if that is the CPU."""
    import torch

    return torch.cuda.device_count() if kind() == "cuda" else int(kind() == "mps")


def gpu_name() -> str:
    """The name of the GPU that this process computes on; "" for a CPU."""
    import torch

    return {"cpu": "", "mps": "Apple GPU"}.get(kind()) or (torch.cuda.get_device_name() if kind() == "cuda" else "")


def fastest_type() -> "torch.dtype":
    """The type in which the device of this process multiplies matrices fastest: of 16 bit where it does so natively.

    That is bfloat16 on GPUs from Ampere on and on CPUs with AVX512-BF16 or AMX, and float16 on GPUs with tensor cores.
    Elsewhere 16 bit are emulated, which is slower than float32.

    >>> with gpu_share(0):
    ...     str(fastest_type()) in ("torch.bfloat16", "torch.float32")
    True
    """
    import torch

    device = kind()
    if device == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return torch.bfloat16
        return torch.float16 if torch.cuda.get_device_capability() >= (7, 0) else torch.float32
    return torch.bfloat16 if device == "cpu" and _cpu_multiplies_bf16() else torch.float32


def _cpu_multiplies_bf16() -> bool:
    import torch

    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return any(bool(capabilities.get(name)) for name in ("avx512_bf16", "amx_bf16"))


def wait_for(device: "torch.device") -> None:
    """Wait until a device has done all that it was given, as a clock needs it."""
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize()
    elif device.type == "mps":
        torch.mps.synchronize()


def free_cached(device: "torch.device") -> None:
    """Return the memory that torch keeps for later tensors of this process to the device."""
    import torch

    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()


@contextmanager
def kept_random_state(device: "torch.device") -> Iterator[None]:
    """Restore the random numbers of the CPU and of ``device`` afterwards."""
    import torch

    state = torch.mps.get_rng_state() if device.type == "mps" else None
    try:
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            yield
    finally:
        if state is not None:
            torch.mps.set_rng_state(state)


def trials_per_gpu(share: float) -> int:
    """How many processes with this share of a GPU are on one, as a share never spans two."""
    return int(1 / share + 1e-3)


def own_share() -> float:
    """The share of its GPU that this process may fill, 1 if nobody has given it one."""
    return 1 / trials_per_gpu(_share) if _share else 1.0


def _limit_memory(share: float) -> None:
    """Keep this process within its part of the memory of the GPU.

    Otherwise a trial would run out of memory because of what another one keeps for later, and whether a trial trains in
    micro-batches, which changes batch norm, would depend on its neighbours.
    """
    import torch

    if kind() == "cuda":
        memory = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction(max(0.01, 1 / trials_per_gpu(share) - CONTEXT_BYTES / memory))
