"""How this machine computes: what "auto" precision means, whether networks can be compiled, when memory is short."""

import os
import shutil
from typing import Literal

import torch

from inat.config.trial import Precision
from inat.errors import ConfigError
from inat.training.memory import is_out_of_memory_text


def resolve_precision(precision: Precision) -> Literal["32-true", "bf16-mixed", "16-mixed"]:
    """What "auto" means on this machine: 16 bit where it is multiplied natively, else float32.

    That is bfloat16 on GPUs from Ampere on and on CPUs with AVX512-BF16 or AMX, float16 on GPUs with tensor cores.
    """
    if precision != "auto":
        return precision
    if torch.cuda.is_available():
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return "bf16-mixed"
        return "16-mixed" if torch.cuda.get_device_capability() >= (7, 0) else "32-true"
    return "bf16-mixed" if _cpu_multiplies_bf16() else "32-true"


def check_compiler() -> None:
    """Raise ConfigError if torch.compile would find no C++ compiler on this machine."""
    compiler = os.environ.get("CXX")
    if not any(shutil.which(name) for name in ([compiler] if compiler else ["g++", "clang++", "c++"])):
        raise ConfigError("--compile needs a C++ compiler and none is installed; install g++ or leave --compile out")


def _cpu_multiplies_bf16() -> bool:
    # Without these instructions bfloat16 is emulated and slower than float32.
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return any(bool(capabilities.get(name)) for name in ("avx512_bf16", "amx_bf16"))


def autocast(precision: Precision, device: str) -> torch.autocast:
    """The arithmetic that validation used during training, so that a checkpoint reproduces its recorded accuracy."""
    chosen = resolve_precision(precision)
    dtype = torch.float16 if chosen == "16-mixed" else torch.bfloat16
    return torch.autocast(device, dtype=dtype, enabled=chosen != "32-true")


def is_out_of_memory(error: RuntimeError | MemoryError) -> bool:
    """Whether a device, or the computer, had too little memory."""
    return isinstance(error, MemoryError) or is_out_of_memory_text(f"{type(error).__name__}: {error}")
