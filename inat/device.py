"""The device of this process: one rule for training, features, inference, races and the timing of networks.

A trial computes on the GPU that it has a share of, and on the CPU if its share is 0, even where it sees GPUs. A process
to which nobody gave a share takes a GPU if there is one: CUDA's (or ROCm's) first, then Apple's. torch is loaded by the
functions: commands report wrong options before.
"""

import os
import subprocess
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from inat.errors import ConfigError

if TYPE_CHECKING:
    import torch

Kind = Literal["cpu", "cuda", "mps"]
CURE = "or pass --gpus-per-trial 0 to train on the CPUs"
# Memory of a process on a GPU besides its tensors: kernels, handles and work space of the libraries of CUDA.
CONTEXT_BYTES = 800_000_000
VISIBLE = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES")

_share: float | None = None  # of a GPU; None if nobody has said


@dataclass(frozen=True, slots=True)
class Gpu:
    """What the driver tells about a GPU; bytes of memory, and ``free`` of them at that moment."""

    name: str
    capability: tuple[int, int]
    memory: int
    free: int
    multiprocessors: int


@dataclass(frozen=True, slots=True)
class Survey:
    """The GPUs of CUDA or ROCm that torch finds, whether there is one of ``apple``, and why torch cannot use a GPU.

    ``exclusive`` says that the driver allows one process on a GPU, ``mps`` that NVIDIA's server for several runs.
    """

    gpus: tuple[Gpu, ...] = ()
    problem: str = ""
    apple: bool = False
    exclusive: bool = False
    mps: bool = False


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


def _limit_memory(share: float) -> None:
    """Keep this process within its part of the memory of the GPU.

    Otherwise a trial would run out of memory because of what another one keeps for later, and whether a trial trains in
    micro-batches, which changes batch norm, would depend on its neighbours.
    """
    import torch

    if kind() == "cuda":
        memory = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction(max(0.01, 1 / trials_per_gpu(share) - CONTEXT_BYTES / memory))


def free_memory(device: "torch.device") -> int:
    """Bytes that this process may still take of a CUDA device."""
    import torch

    free, memory = torch.cuda.mem_get_info(device)
    if not _share or _share == 1:
        return free
    own = memory // trials_per_gpu(_share) - CONTEXT_BYTES - torch.cuda.memory_reserved(device)
    return max(0, min(free, own))


def survey() -> Survey:
    """Look at the GPUs of this machine; torch takes memory of each for it until this process ends."""
    import torch

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        available = torch.cuda.is_available()
    if available:
        gpus = tuple(map(_gpu, range(torch.cuda.device_count())))
        problem = incompatible_error(gpus, torch.cuda.get_arch_list()) if torch.version.cuda else ""
        return Survey(gpus, problem, exclusive=_is_exclusive(), mps=_mps_runs())
    if torch.backends.mps.is_available():
        return Survey(apple=True)
    reason = str(caught[0].message) if caught else ""
    if torch.version.cuda is None and torch.version.hip is None:
        reason = "it is built without CUDA"
    return Survey((), unavailable_error(reason))


def _is_exclusive() -> bool:
    try:
        command = ["nvidia-smi", "--query-gpu=compute_mode", "--format=csv,noheader"]
        return "Exclusive" in subprocess.run(command, capture_output=True, text=True, timeout=30, check=False).stdout
    except (OSError, subprocess.SubprocessError):
        return False


def _mps_runs() -> bool:
    return (Path(os.environ.get("CUDA_MPS_PIPE_DIRECTORY", "/tmp/nvidia-mps")) / "control").exists()


def _gpu(index: int) -> Gpu:
    import torch

    facts: Any = torch.cuda.get_device_properties(index)
    free = facts.total_memory
    with suppress(RuntimeError):  # another process may have the GPU to itself
        free = torch.cuda.mem_get_info(index)[0]
    return Gpu(facts.name, (facts.major, facts.minor), facts.total_memory, free, facts.multi_processor_count)


def unavailable_error(reason: str) -> str:
    """The sentence for GPUs that torch does not find; ``reason`` is torch's own warning."""
    # "CUDA initialization: The NVIDIA driver on your system is too old (found version 11040). Please update ..."
    short = reason.removeprefix("CUDA initialization: ").split(". ")[0].splitlines()[0:1]
    why = f" ({short[0].strip(' .')})" if short and short[0] else ""
    return (
        f"torch {_version()} cannot use the GPU of this machine{why}; update the driver, or install a torch that is "
        f"built for it, {CURE}"
    )


def incompatible_error(gpus: Sequence[Gpu], architectures: Sequence[str]) -> str:
    """The sentence for a GPU for which torch has no kernels; "" if it has them for all."""
    for gpu in gpus:
        if architectures and not any(_runs_on(gpu.capability, name) for name in architectures):
            major, minor = gpu.capability
            return (
                f"torch {_version()} cannot use the {gpu.name} (compute capability {major}.{minor}): it is built for "
                f"{', '.join(architectures)}; install a torch that is built for it, {CURE}"
            )
    return ""


def _runs_on(capability: tuple[int, int], architecture: str) -> bool:
    """Whether a GPU runs code for an architecture such as sm_86 or compute_90.

    Binary code (sm) runs on later minor versions of its major version; with the suffix f likewise, with a on exactly
    its version. Code that the driver compiles (compute) runs on all later versions.
    """
    form, _, version = architecture.partition("_")
    number = version.rstrip("af")
    built = (int(number[:-1]), int(number[-1])) if number[1:].isdigit() else (0, 0)
    if version.endswith("a"):
        return capability == built
    if form == "compute" and not version.endswith("f"):
        return capability >= built
    return capability[0] == built[0] and capability[1] >= built[1]


def _version() -> str:
    import torch

    return str(torch.__version__)
