"""How many trials run at a time, and what each of them gets."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rich.filesize import decimal

from inat.config.search import SearchConfig
from inat.errors import ConfigError

MAX_AUTOMATIC_CPUS = 8  # for each trial; the loop of one trial does not use more
# Memory of a trial's process with a small network, and of the driver with Ray's servers and the object store. Measured
# were 0.42 to 0.64 GB, and 0.55 GB besides the object store of 0.1 GB.
TRIAL_BYTES, DRIVER_BYTES = 700_000_000, 1_000_000_000
UNITS = 10_000  # Ray counts shares in parts of this size
ROUNDING = 1e-3


@dataclass(frozen=True, slots=True)
class Node:
    """What Ray schedules on one node; ``memory`` is what a search may use of it, in bytes, if it is known."""

    cpus: float
    gpus: float = 0.0
    name: str = ""
    node_id: str = ""
    memory: float = math.inf


@dataclass(frozen=True, slots=True)
class Slots:
    """``count`` trials at a time, each with ``cpus`` cores and ``gpus`` GPUs."""

    count: int
    cpus: float
    gpus: float

    def fit_on(self, node: Node) -> int:
        """Return how many such trials fit on a node at a time."""
        return _fit_on(node, self.cpus, self.gpus)

    def __str__(self) -> str:
        gpus = f" and {self.gpus:g} GPU" if self.gpus else ""
        return f"{self.count} at a time, each with {self.cpus:g} CPU{gpus}"


def plan_slots(nodes: Sequence[Node], config: SearchConfig, gpu_share: float = 1.0) -> Slots:
    """Return the slots of a cluster; ConfigError with the numbers if no trial fits.

    Automatic values: without GPUs one core for each trial, because two small networks side by side train faster than
    one on two cores; with GPUs ``gpu_share`` of one for each trial and an equal share of the node's cores.
    """
    any_gpu = any(node.gpus >= 1 for node in nodes)
    if config.precision == "16-mixed" and not any_gpu:
        raise ConfigError("--precision 16-mixed needs a GPU and there is none; take bf16-mixed, 32-true or auto")
    gpus = config.gpus_per_trial if config.gpus_per_trial is not None else gpu_share * any_gpu
    gpus = _in_units(gpus)
    cpus = config.cpus_per_trial if config.cpus_per_trial is not None else _cpu_share(nodes, gpus)
    count = sum(_fit_on(node, cpus, gpus) for node in nodes)
    if count == 0:
        largest = max(nodes, key=lambda node: (node.gpus, node.cpus), default=Node(0))
        raise ConfigError(
            f"a trial needs {cpus:g} CPU and {gpus:g} GPU, but the largest node has {largest.cpus:g} CPU and "
            f"{largest.gpus:g} GPU; lower --cpus-per-trial or --gpus-per-trial"
        )
    return Slots(min(count, config.max_concurrent or _in_memory(nodes, count)), cpus, gpus)


def describe_little_memory(nodes: Sequence[Node], slots: Slots) -> str:
    """Return why fewer trials run at a time than the cores and GPUs would allow; "" if the memory suffices."""
    count = sum(slots.fit_on(node) for node in nodes)
    if (fitting := _in_memory(nodes, count)) == count or slots.count > fitting:
        return ""
    memory = sum(node.memory for node in nodes)
    return (
        f"the memory of {decimal(int(memory))} is enough for {fitting} at a time, the cores for {count}; "
        "--max-concurrent N overrides this estimate"
    )


def _in_memory(nodes: Sequence[Node], count: int) -> int:
    """How many of ``count`` trials the memory of the nodes holds, at least one."""
    memory = sum(node.memory for node in nodes)
    return count if memory == math.inf else min(count, max(1, int((memory - DRIVER_BYTES) / TRIAL_BYTES)))


def describe_too_small(nodes: Sequence[Node], slots: Slots) -> str:
    """Return which nodes are too small for a trial and which option would use them; "" if there is none."""
    names = sorted(node.name for node in nodes if not slots.fit_on(node))
    if not names:
        return ""
    lack = "no GPU" if slots.gpus and all(node.gpus < slots.gpus for node in nodes if node.name in names) else "no room"
    cure = "--gpus-per-trial 0 would use the CPUs of all" if lack == "no GPU" else "lower --cpus-per-trial"
    return f"{', '.join(names)} {'have' if len(names) > 1 else 'has'} {lack} for a trial; {cure}"


def trials_on_gpu(share: float) -> int:
    """How many trials with this share of a GPU run on one: a share never spans two GPUs.

    >>> [trials_on_gpu(share) for share in (1, 0.6, 0.5, 0.4, 0.3333, 1 / 3)]
    [1, 1, 2, 2, 3, 3]
    """
    return UNITS // int(_in_units(share) * UNITS + 0.5)


def _in_units(share: float) -> float:
    """The share as Ray counts it, rounded down, so that Ray places three trials with 0.33334."""
    return int(share * UNITS + ROUNDING) / UNITS


def _cpu_share(nodes: Sequence[Node], gpus: float) -> float:
    if gpus == 0:
        return 1.0
    shares = [node.cpus // (int(node.gpus) * trials_on_gpu(gpus)) for node in nodes if node.gpus >= 1]
    return float(min(max(1.0, min(shares, default=1.0)), MAX_AUTOMATIC_CPUS))


def _fit_on(node: Node, cpus: float, gpus: float) -> int:
    by_cpu = int(node.cpus / cpus + ROUNDING)
    return min(by_cpu, int(node.gpus) * trials_on_gpu(gpus)) if gpus else by_cpu
