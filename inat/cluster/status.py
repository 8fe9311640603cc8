"""`status`: show the trials of a search and the nodes of its cluster; runs on one of these nodes."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from rich.table import Table

from analysis.class_counts import beside
from analysis.terminal import PlainConsole
from analysis.wording import counted
from inat.config.finetune import FinetuneConfig
from inat.config.objective import ACCURACY
from inat.config.search import SearchConfig
from inat.config.trial import active_params
from inat.constants import FAILED, GRID, SEARCH_KIND, STATES
from inat.errors import ConfigError
from inat.study.journal import Journal
from inat.study.metadata import is_running, read_info
from inat.study.trial import Trial
from inat.tuning.best import named_in_best_json
from inat.tuning.ray_backend.session import free_resources, ray_session
from inat.tuning.ray_backend.slots import Node, plan_slots

STARTING = "starting"  # a trial without an epoch, whose node is not known yet
WAITING = "waiting"  # a trial whose node has left the cluster


@dataclass(frozen=True, slots=True)
class NodeState:
    """One node of the cluster: its CPU cores and GPUs, and how many of each are in use."""

    name: str
    address: str
    alive: bool
    cpus: float = 0.0
    busy_cpus: float = 0.0
    gpus: float = 0.0
    busy_gpus: float = 0.0


def show_status(directory: Path) -> None:
    """Print the study's trials and the best one, then the cluster's nodes and slots.

    Raises StudyError if ``directory`` is not a study; SearchError, after the study is printed, if this machine belongs
    to no cluster.
    """
    info = read_info(directory)
    journal, running = Journal.read(directory), is_running(directory)
    console = PlainConsole()
    chosen = None if running else named_in_best_json(journal, directory)
    for line in describe_study(directory, info, journal, running, chosen):  # first, because it needs no cluster
        console.print(line)
    nodes = node_states()
    console.print(node_table(nodes, journal.unfinished() if running else []))
    for line in describe_slots(nodes, info, journal, running):
        console.print(line)


def node_states() -> list[NodeState]:
    """The nodes of the cluster, running ones first; raises SearchError if no cluster answers."""
    with ray_session(SearchConfig(address="auto")):
        free = free_resources()
        found = [node_state(node, free.get(node["NodeID"], {})) for node in ray.nodes()]
    up = {node.address for node in found if node.alive}
    # A host that returned is a new node to Ray; its old node is not shown.
    down = {node.address: node for node in found if node.address not in up}
    return [*sorted((node for node in found if node.alive), key=lambda node: node.name), *down.values()]


def node_state(node: Mapping[str, Any], free: Mapping[str, float]) -> NodeState:
    """The state of a node as ``ray.nodes`` lists it; ``free`` are its unused resources."""
    has = node["Resources"] if node["Alive"] else {}
    cpus, gpus = has.get("CPU", 0.0), has.get("GPU", 0.0)
    busy_cpus, busy_gpus = cpus - free.get("CPU", 0.0), gpus - free.get("GPU", 0.0)
    name, address = node["NodeManagerHostname"], node["NodeManagerAddress"]
    return NodeState(name, address, node["Alive"], cpus, busy_cpus, gpus, busy_gpus)


def node_table(nodes: Sequence[NodeState], running: Sequence[Trial]) -> Table:
    """One row per node, with the ``running`` trials on it; trials without a running node come last."""
    table = Table("node", "address", "state", "CPUs busy", "GPUs busy", "trials")
    for node in nodes:
        here = [trial for trial in running if node.alive and trial.node == node.name]
        busy = [f"{taken:g} of {has:g}" for taken, has in ((node.busy_cpus, node.cpus), (node.busy_gpus, node.gpus))]
        table.add_row(
            node.name, node.address, "up" if node.alive else "down", *(busy if node.alive else ("-", "-")),
            "\n".join(describe_trial(trial) for trial in here),
        )  # fmt: skip
    starting, waiting = [trial for trial in running if not trial.node], lost_trials(nodes, running)
    for state, trials in ((STARTING, starting), (WAITING, waiting)):
        if trials:
            table.add_row(state, "", "", "", "", "\n".join(describe_trial(trial) for trial in trials))
    return table


def lost_trials(nodes: Sequence[NodeState], running: Sequence[Trial]) -> list[Trial]:
    """Running trials whose node has left and that have not reported from another node yet."""
    names = {node.name for node in nodes if node.alive}
    return [trial for trial in running if trial.node and trial.node not in names]


def describe_trial(trial: Trial) -> str:
    """A running trial with its epoch and its best value."""
    if trial.best_value is None:
        return trial.trial_id
    return f"{trial.trial_id} epoch {trial.epochs}, {trial.best_value:.4f}"


def describe_slots(nodes: Sequence[NodeState], info: Mapping[str, Any], journal: Journal, running: bool) -> list[str]:
    """How many trials run, out of the number that fits on the running nodes."""
    up = [Node(node.cpus, node.gpus) for node in nodes if node.alive]
    if not up:
        return []
    try:
        slots = plan_slots(up, config_of(info))
    except ConfigError as error:
        return [f"slots   none: {error}"]
    unfinished = journal.unfinished() if running else []
    waiting = len(lost_trials(nodes, unfinished))
    rest = f"; {waiting} waiting" if waiting else ""
    if len(unfinished) - waiting > slots.count:  # the search has chosen a smaller share of a GPU for each
        return [f"slots   {len(unfinished) - waiting} busy{rest}"]
    return [f"slots   {len(unfinished) - waiting} busy of {slots}{rest}"]


def config_of(info: Mapping[str, Any]) -> SearchConfig:
    """The configuration of a study's search."""
    kind = FinetuneConfig if info.get(SEARCH_KIND) == FinetuneConfig.KIND else SearchConfig
    return kind.from_json(info["config"])


def describe_study(
    directory: Path, info: Mapping[str, Any], journal: Journal, running: bool, chosen: Trial | None = None
) -> list[str]:
    """Lines about the study: its trials by state, the last failure and the best trial or the cheaper one ``chosen``."""
    wanted = min(info["config"].get("num_samples") or math.inf, len(info.get(GRID) or ()) or math.inf)
    states = [trial.state for trial in journal.trials.values()]
    counts = ", ".join(f"{states.count(state)} {state}" for state in STATES)
    of = f" of {wanted:g}" if math.isfinite(wanted) else ""
    left = "" if running or len(journal.ended()) >= wanted else "; no process is running it: continue with --resume"
    lines = [f"study   {directory}{left}", f"trials  {len(journal.ended())}{of} ended: {counts}"]
    if failed := [trial for trial in journal.trials.values() if trial.state == FAILED]:
        lines.append(f"failed  {failed[-1].trial_id} last: {failed[-1].error}")
    best = chosen or journal.best()
    if best is None:
        return [*lines, "best    no trial has ended yet"]
    params = ", ".join(f"{name} {value}" for name, value in active_params(best.params).items())
    name = "" if best.objective is ACCURACY else f" {best.objective.short}"
    value = f"{best.best_value:.4f}{beside(info, best.objective)}"
    return [*lines, f"best    {best.trial_id}{name} {value} in {counted(best.epochs, 'epoch')}: {params}"]
