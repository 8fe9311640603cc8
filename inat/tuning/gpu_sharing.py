"""How many trials share a GPU by default: as many as its memory holds and as it has idle time for, at most MOST.

A small network leaves a large GPU idle while Python launches the operators of its next layers; other trials fill the
gaps. One share holds for all trials of a search, by the largest network of its space, so that a network which needs the
GPU alone gets it: Ray reuses processes only for trials with equal shares.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import ray
from rich.filesize import decimal

from inat.config.search import SearchConfig
from inat.device import CONTEXT_BYTES
from inat.gpus import Gpu, Survey, survey
from inat.tuning.demand import PASSES, Demand, SpaceDemand
from inat.tuning.ray_backend import session
from inat.tuning.ray_backend.local_gpus import in_new_process, survey_here
from inat.tuning.ray_backend.slots import Node

MOST = 4
CORES = 2  # that a trial needs at least to feed a GPU, one of them to gather images
USABLE = 0.9  # of the free memory; the rest is lost between blocks
# Operations and bytes of a multiprocessor in a second by the GPU's capability, others like a T4 or an RTX 4090: a third
# to a half of the published rates in 16 bit, and two thirds of the bandwidth. Estimates, not measurements.
RATES = {(8, 0): (1.4e12, 1.3e10), (9, 0): (2.6e12, 1.8e10), (10, 0): (5e12, 3.8e10)}
OTHER_RATES = (7e11, 5.5e9)
TRAFFIC = 2  # times that the bytes of an activation in float32 pass: in 16 bit, written and read, forward and backward
ANSWER_SECONDS = 90.0
STEP_SECONDS, CALL_SECONDS = 2e-3, 1e-5  # of Python: for a step and for each operator, backward pass included
AUGMENTATION_CALLS = 100
START_MPS = "start NVIDIA MPS before the search (`nvidia-cuda-mps-control -d`) to let their kernels run side by side"


@dataclass(frozen=True, slots=True)
class Sharing:
    """How many trials share each GPU, and the line that tells the user why; "" if there is nothing to tell."""

    trials: int = 1
    line: str = ""

    @property
    def share(self) -> float:
        """The share of a GPU that each trial gets."""
        return 1 / self.trials


def choose_sharing(config: SearchConfig, nodes: Sequence[Node], trials: int) -> Sharing:
    """The share of a GPU for the next ``trials`` trials of ``config``; a whole one if too little is known."""
    with_gpus = [node for node in nodes if node.gpus >= 1]
    if config.gpus_per_trial is not None or not with_gpus:
        return Sharing()
    cores = min(node.cpus / int(node.gpus) for node in with_gpus) / (config.cpus_per_trial or CORES)
    # Ray fills one GPU before the next: with a smaller share, few trials would leave GPUs without any.
    wanted = min(trials, config.max_concurrent or trials) / sum(int(node.gpus) for node in with_gpus)
    most = max(1, int(min(MOST, cores, wanted)))
    try:
        surveys = _surveys(config, with_gpus) if most > 1 else []
        if not surveys or not all(each.gpus for each in surveys):  # Apple's GPUs have no memory of their own
            return Sharing()
        return sharing(surveys, in_new_process(_demand_of_space, config), most)
    except Exception as error:  # whatever a prediction may fail of, the search does not need it
        return Sharing(line=f"each has a GPU alone, as its demand is not known ({type(error).__name__}: {error})")


def _surveys(config: SearchConfig, nodes: Sequence[Node]) -> list[Survey]:
    if config.address is None:
        return [survey_here()]
    asked = [session.call_on_node(node.node_id, in_new_process, survey) for node in nodes]
    found: list[Survey] = ray.get(asked, timeout=ANSWER_SECONDS)
    return found


def _demand_of_space(config: SearchConfig) -> SpaceDemand:
    from inat.tuning.network_demand import demand_of_space  # loads torch, which the driver does without

    return demand_of_space(config)


def sharing(surveys: Sequence[Survey], demand: SpaceDemand, most: int) -> Sharing:
    """Choose at most ``most`` trials for each GPU; the GPU with the least memory, and the slowest one, decide."""
    gpus = [gpu for each in surveys for gpu in each.gpus]
    mps, smallest = all(each.mps for each in surveys), min(gpus, key=lambda gpu: gpu.free)
    if any(each.exclusive and not each.mps for each in surveys):
        return Sharing(line=f"each has a GPU alone, as the driver allows one process on it; {START_MPS}")
    busy = max(busy_share(demand.networks, gpu) for gpu in gpus)
    trials = max(1, min(most, _in_memory(smallest, demand), round(1 / busy)))
    why = f"one keeps it busy for about {busy:.0%} of its time and needs up to {decimal(demand.memory)} of its memory"
    if trials == 1:
        return Sharing(line=f"each has a GPU alone: {why}; --gpus-per-trial 0.5 lets two share it")
    hint = "" if mps else f"; {START_MPS}"
    return Sharing(trials, f"{trials} share each GPU, as {why}; --gpus-per-trial 1 gives each a whole one{hint}")


def busy_share(networks: Sequence[Demand], gpu: Gpu) -> float:
    """The share of the time of trials with these networks in which the GPU computes, above 0 and at most 1.

    Python launches operators while the GPU computes the earlier ones, so the slower of the two decides about a step.
    """
    operations, traffic = (rate * max(1, gpu.multiprocessors) for rate in RATES.get(gpu.capability, OTHER_RATES))
    computed = whole = 0.0  # seconds of an image
    for network in networks:
        computing = PASSES * network.operations / operations + TRAFFIC * network.image_bytes / traffic
        launching = STEP_SECONDS + CALL_SECONDS * (PASSES * network.calls + AUGMENTATION_CALLS)
        computed += computing
        whole += max(computing, launching / network.images)
    return max(0.01, computed / whole)


def _in_memory(gpu: Gpu, demand: SpaceDemand) -> int:
    """How many trials fit into the free memory of a GPU, each with its images if those fit beside one network."""
    room, each = USABLE * gpu.free, demand.memory + CONTEXT_BYTES
    if each + demand.pictures <= room:
        each += demand.pictures
    return max(1, int(room / each))
