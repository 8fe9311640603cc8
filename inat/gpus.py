"""What torch and the driver say about the GPUs of this machine, and why torch cannot use one of them."""

import os
import subprocess
import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CURE = "or pass --gpus-per-trial 0 to train on the CPUs"
WARNING = "CUDA initialization: "  # how torch begins to tell why there is no GPU


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
    short = reason.removeprefix(WARNING).split(". ")[0].splitlines()[0:1]
    why = f" ({short[0].strip(' .')})" if short and short[0] else ""
    return (
        f"torch {_version()} cannot use the GPU of this machine{why}; update the driver, or install a torch that is "
        f"built for it, {CURE}"
    )


def incompatible_error(gpus: Sequence[Gpu], architectures: Sequence[str]) -> str:
    """The sentence for a GPU for which torch has no kernels; "" if it has them for all."""
    usable = [any(_runs_on(gpu.capability, name) for name in architectures) for gpu in gpus]
    if not architectures or all(usable):
        return ""
    gpu, (major, minor) = gpus[usable.index(False)], gpus[usable.index(False)].capability
    return (
        f"torch {_version()} cannot use the {gpu.name} (compute capability {major}.{minor}): it is built for "
        f"{', '.join(architectures)}; install a torch that is built for it, hide it with CUDA_VISIBLE_DEVICES, {CURE}"
    )


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
