"""The GPUs of this machine: how many a private session has, and whether torch can use them."""

import glob
import platform
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache
from multiprocessing import get_context
from typing import TypeVar

from ray._private import accelerators

from inat.config.finetune import FinetuneConfig
from inat.config.search import SearchConfig
from inat.errors import ConfigError
from inat.gpus import Survey, survey

# Files of the drivers of NVIDIA (on Jetson, Ray does not find the GPU) and of AMD.
DRIVER_FILES = ("/dev/nvidia[0-9]*", "/dev/nvhost-gpu", "/dev/kfd")

Result = TypeVar("Result")


def check_gpus_here(config: SearchConfig) -> None:
    """Raise ConfigError if trials on this machine would get a GPU that they cannot use."""
    if config.address is not None or config.gpus_per_trial == 0:  # the nodes of a cluster are asked one by one
        return
    if not (ray_gpus() or may_have_gpu()):
        if config.gpus_per_trial:
            raise ConfigError(
                f"--gpus-per-trial {config.gpus_per_trial:g}: this machine has no GPU; leave the option out, or name a "
                "cluster that has GPUs with --address"
            )
        return
    here = survey_here()
    if here.problem:
        raise ConfigError(here.problem)
    if isinstance(config, FinetuneConfig) and config.preset is not None and here.exclusive and not here.mps:
        # The race computes on the GPU in the process of the search, and the trials do in others.
        raise ConfigError(
            f"--preset {config.preset} needs the GPU for two processes at a time, but its compute mode allows one; "
            "start NVIDIA MPS before the search (nvidia-cuda-mps-control -d), or leave --preset out"
        )


def missed_gpus() -> int:
    """How many GPUs torch finds on this machine and Ray does not."""
    if ray_gpus() or not may_have_gpu():
        return 0
    return len(survey_here().gpus) or int(survey_here().apple)


def ray_gpus() -> int:
    """How many GPUs Ray finds on this machine, as it does when it starts."""
    manager = accelerators.get_accelerator_manager_for_resource("GPU")
    found, visible = manager.get_current_node_num_accelerators(), manager.get_current_process_visible_accelerator_ids()
    return int(found if visible is None else min(found, len(visible)))


def may_have_gpu() -> bool:
    """Whether it is worth loading torch to look for a GPU that Ray does not find."""
    if platform.system() == "Darwin" and platform.machine() == "arm64":
        return True
    return any(glob.glob(pattern) for pattern in DRIVER_FILES)


@lru_cache(maxsize=1)
def survey_here() -> Survey:
    """What torch says about the GPUs of this machine; it is asked once."""
    return in_new_process(survey)


def in_new_process(function: Callable[..., Result], *arguments: object) -> Result:
    """Call a function in a process of its own, which leaves neither torch nor memory of a GPU behind."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()
