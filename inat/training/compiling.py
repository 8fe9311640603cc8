"""Compile networks with torch.compile: what it needs on this node, where its code is kept, and CUDA graphs."""

import importlib.util
import os
import shutil
import tempfile
from pathlib import Path

import torch
from torch import nn

from inat.config.trial import TrialConfig
from inat.data.private_folder import create_private
from inat.device import kind
from inat.errors import ConfigError

TRITON_CAPABILITY = (7, 0)
COMPILED_VARIABLE, COMPILED_DIR = "TORCHINDUCTOR_CACHE_DIR", "compiled"
# "1" in this environment variable: on a GPU, the kernels of a compiled network are launched together, as CUDA graphs.
GRAPHS = "INAT_CUDA_GRAPHS"


def compile_network(net: nn.Module, config: TrialConfig, device: str, *, whole: bool) -> None:
    """Compile ``net`` at its first batch; ``whole`` says that batches go through it whole, not in parts.

    >>> from unittest.mock import patch
    >>> params = {
    ...     "data": "digits", "image_size": 8, "first_layer_filters": 4, "filter_org": 1, "conv_layers": 2,
    ...     "activation": "relu", "dropout": 0.2, "batch_norm": True, "num_neurons_dense": 32,
    ...     "learning_rate": 0.01, "batch_size": 64, "max_epochs": 2,
    ... }
    >>> with patch.dict(os.environ, CXX="no-such-compiler"):
    ...     compile_network(nn.Linear(1, 1), TrialConfig.from_params(params), "cpu", whole=True)
    Traceback (most recent call last):
    inat.errors.ConfigError: --compile needs a C++ compiler and none is installed; install g++ or leave --compile out
    """
    check_compiler(device)
    keep_compiled_code_private(Path(config.data.cache_dir))
    torch.compiler.reset()  # otherwise torch gives up after compiling a few networks in one process
    # A graph replays kernels on fixed memory, so the results of one part would overwrite those of the part before.
    graphs = device == "cuda" and whole and os.environ.get(GRAPHS) == "1"
    net.compile(mode="reduce-overhead" if graphs else "default")


def check_compiler(device: str = "") -> None:
    """Raise ConfigError if torch.compile would lack what it needs on this node for ``device``, "cpu" or "cuda".

    By default, the device is the one that a training on this node would use.

    >>> from unittest.mock import patch
    >>> with patch.dict(os.environ, CXX="no-such-compiler"):
    ...     check_compiler("cpu")
    Traceback (most recent call last):
    inat.errors.ConfigError: --compile needs a C++ compiler and none is installed; install g++ or leave --compile out
    """
    if (device or kind()) == "cuda":
        _check_triton()
        return
    compiler = os.environ.get("CXX")
    if not any(shutil.which(name) for name in ([compiler] if compiler else ["g++", "clang++", "c++"])):
        raise ConfigError("--compile needs a C++ compiler and none is installed; install g++ or leave --compile out")


def _check_triton() -> None:
    """Raise ConfigError if Triton, with which torch.compile makes code for GPUs, would not work."""
    name, capability = torch.cuda.get_device_name(), torch.cuda.get_device_capability()
    if capability < TRITON_CAPABILITY:
        raise ConfigError(
            f"--compile needs a GPU of compute capability 7.0, and {name} has {capability[0]}.{capability[1]}; leave "
            "--compile out"
        )
    if importlib.util.find_spec("triton") is None:
        raise ConfigError(
            "--compile needs Triton on a GPU and it is not installed; pip install triton, or leave it out"
        )
    compiler = os.environ.get("CC")
    if not any(shutil.which(found) for found in ([compiler] if compiler else ["gcc", "clang", "cc"])):
        raise ConfigError("--compile needs a C compiler on a GPU and none is installed; install gcc or leave it out")


def keep_compiled_code_private(cache_dir: Path) -> None:
    """Let torch.compile keep its code in the cache, unless TORCHINDUCTOR_CACHE_DIR names another folder.

    torch would use /tmp/torchinductor_USER, a name that another user can take first, and run the code found there.

    >>> from unittest.mock import patch
    >>> with patch.dict(os.environ, {COMPILED_VARIABLE: ""}):
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
