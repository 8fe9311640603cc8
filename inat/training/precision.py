"""Arithmetic on this node: the meaning of precision "auto", and whether networks can be compiled."""

import os
import shutil
import tempfile
from pathlib import Path
from typing import Literal

import torch

from inat.config.trial import Precision
from inat.data.private_folder import create_private
from inat.device import kind
from inat.errors import ConfigError

COMPILED_VARIABLE, COMPILED_DIR = "TORCHINDUCTOR_CACHE_DIR", "compiled"


def resolve_precision(precision: Precision) -> Literal["32-true", "bf16-mixed", "16-mixed"]:
    """Resolve "auto" to 16-bit arithmetic where this node multiplies it natively, else to float32.

    That is bfloat16 on GPUs from Ampere on and on CPUs with AVX512-BF16 or AMX, and float16 on GPUs with tensor cores.

    >>> resolve_precision("32-true")
    '32-true'
    >>> resolve_precision("auto") in ("32-true", "bf16-mixed", "16-mixed")
    True
    """
    if precision != "auto":
        return precision
    device = kind()
    if device == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return "bf16-mixed"
        return "16-mixed" if torch.cuda.get_device_capability() >= (7, 0) else "32-true"
    return "bf16-mixed" if device == "cpu" and _cpu_multiplies_bf16() else "32-true"


def _cpu_multiplies_bf16() -> bool:
    # Without these instructions bfloat16 is emulated, which is slower than float32.
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return any(bool(capabilities.get(name)) for name in ("avx512_bf16", "amx_bf16"))


def autocast(precision: Precision, device: str) -> torch.autocast:
    """The arithmetic of validation during training, with which a checkpoint reproduces its recorded accuracy.

    >>> with autocast("bf16-mixed", "cpu"):
    ...     print((torch.ones(2, 2) @ torch.ones(2, 2)).dtype)
    torch.bfloat16
    """
    resolved = resolve_precision(precision)
    dtype = torch.float16 if resolved == "16-mixed" else torch.bfloat16
    return torch.autocast(device, dtype=dtype, enabled=resolved != "32-true")


def check_compiler() -> None:
    """Raise ConfigError if torch.compile would find no C++ compiler on this node.

    >>> from unittest.mock import patch
    >>> with patch.dict(os.environ, CXX="no-such-compiler"):
    ...     check_compiler()
    Traceback (most recent call last):
    inat.errors.ConfigError: --compile needs a C++ compiler and none is installed; install g++ or leave --compile out
    """
    compiler = os.environ.get("CXX")
    if not any(shutil.which(name) for name in ([compiler] if compiler else ["g++", "clang++", "c++"])):
        raise ConfigError("--compile needs a C++ compiler and none is installed; install g++ or leave --compile out")


def keep_compiled_code_private(cache_dir: Path) -> None:
    """Let torch.compile keep its code in the cache, unless TORCHINDUCTOR_CACHE_DIR names another folder.

    torch would use /tmp/torchinductor_USER, a name that another user can take first, and run the code found there.

    >>> from unittest.mock import patch
    >>> with patch.dict(os.environ):
    ...     keep_compiled_code_private(Path("cache"))
    ...     print(os.environ[COMPILED_VARIABLE])
    cache/compiled
    """
    given = os.environ.get(COMPILED_VARIABLE, "")
    if given and not given.startswith(os.path.join(tempfile.gettempdir(), "torchinductor_")):  # torch's own default
        return
    folder = cache_dir / COMPILED_DIR
    create_private(cache_dir)
    create_private(folder)
    os.environ[COMPILED_VARIABLE] = str(folder)
