"""How many trials run at a time, and what each of them gets."""

from collections.abc import Sequence
from dataclasses import dataclass

from inat.config.search import SearchConfig
from inat.errors import ConfigError

MOST_CPUS_PER_TRIAL = 8  # automatic shares stop here: one trial's loop does not use more


@dataclass(frozen=True, slots=True)
class Node:
    """What Ray schedules on one machine."""

    cpus: float
    gpus: float = 0.0
    name: str = ""
    node_id: str = ""


@dataclass(frozen=True, slots=True)
class Slots:
    """``count`` trials at a time, each with ``cpus`` cores and ``gpus`` GPUs."""

    count: int
    cpus: float
    gpus: float

    def fit_on(self, node: Node) -> int:
        """How many such trials one machine takes at a time."""
        return _fits(node, self.cpus, self.gpus)

    def __str__(self) -> str:
        gpus = f" and {self.gpus:g} GPU" if self.gpus else ""
        return f"{self.count} at a time, each with {self.cpus:g} CPU{gpus}"


def plan_slots(nodes: Sequence[Node], config: SearchConfig) -> Slots:
    """The slots of a cluster; ConfigError with the numbers if not one trial fits.

    Automatic values: without GPUs one core a trial, as two small networks side by side train faster than one on two
    cores; with GPUs one GPU a trial and an equal share of that machine's cores.
    """
    any_gpu = any(node.gpus >= 1 for node in nodes)
    if config.precision == "16-mixed" and not any_gpu:
        raise ConfigError("--precision 16-mixed needs a GPU and there is none; take bf16-mixed, 32-true or auto")
    gpus = config.gpus_per_trial if config.gpus_per_trial is not None else float(any_gpu)
    cpus = config.cpus_per_trial if config.cpus_per_trial is not None else _cpu_share(nodes, gpus)
    count = sum(_fits(node, cpus, gpus) for node in nodes)
    if count == 0:
        largest = max(nodes, key=lambda node: (node.gpus, node.cpus), default=Node(0))
        raise ConfigError(
            f"a trial needs {cpus:g} CPU and {gpus:g} GPU, but the largest machine has {largest.cpus:g} CPU and "
            f"{largest.gpus:g} GPU; lower --cpus-per-trial or --gpus-per-trial"
        )
    return Slots(min(count, config.max_concurrent or count), cpus, gpus)


def idle(nodes: Sequence[Node], slots: Slots) -> str:
    """Which machines are too small for a trial, and what would use them; "" if none is."""
    names = sorted(node.name for node in nodes if not slots.fit_on(node))
    if not names:
        return ""
    lack = "no GPU" if slots.gpus and all(node.gpus < slots.gpus for node in nodes if node.name in names) else "no room"
    ways = "--gpus-per-trial 0 would use the CPUs of all" if lack == "no GPU" else "lower --cpus-per-trial"
    return f"{', '.join(names)} {'have' if len(names) > 1 else 'has'} {lack} for a trial; {ways}"


def _cpu_share(nodes: Sequence[Node], gpus: float) -> float:
    if gpus == 0:
        return 1.0
    shares = [node.cpus * gpus // node.gpus for node in nodes if node.gpus >= gpus]
    return float(min(max(1.0, min(shares, default=1.0)), MOST_CPUS_PER_TRIAL))


def _fits(node: Node, cpus: float, gpus: float) -> int:
    # Ray counts in 1/10,000; the allowance keeps 3 x 0.3333 GPUs from becoming two.
    by_cpu = node.cpus / cpus + 1e-3
    return int(min(by_cpu, node.gpus / gpus + 1e-3) if gpus else by_cpu)
