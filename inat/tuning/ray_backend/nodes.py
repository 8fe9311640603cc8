"""The nodes of a cluster while a search runs: which join, which leave, and which can run trials."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import ray
from ray.tune import Callback
from ray.tune.experiment import Trial as TuneTrial

from inat.config.trial import DataConfig
from inat.constants import STUDY_JSON
from inat.errors import SearchError
from inat.study.study import Study
from inat.tuning.ray_backend import session
from inat.tuning.ray_backend.node_checks import parse_node_error, why_unusable
from inat.tuning.ray_backend.slots import Node, Slots
from inat.tuning.ray_backend.snapshots import NotInSnapshots

LOOK_EVERY_SECONDS = 2.0
CHECK_AGAIN_SECONDS = 15.0  # somebody may have repaired a node meanwhile
ANSWER_SECONDS = 90.0  # the first answer includes starting Python and loading libraries, maybe from a shared folder

StartCheck = Callable[[str], Any]  # a node's id -> Ray's reference to the result of why_unusable on that node


@dataclass(slots=True)
class NodeStatus:
    """A node that is up; ``unusable`` says why it gets no trials, "" if it may, None before its first answer."""

    node: Node
    unusable: str | None = None
    check: Any = None
    checked_at: float = 0.0


class ClusterNodes(NotInSnapshots, Callback):
    """Checks whether each node can run trials before it gets any; use it as one of Tune's callbacks.

    ``list_nodes`` returns the nodes that are up. The driver's node is not checked: the driver has checked everything
    there. ``print_line`` receives lines for the user.
    """

    def __init__(
        self,
        list_nodes: Callable[[], Sequence[Node]],
        start_check: StartCheck,
        driver_node_id: str,
        print_line: Callable[[str], object],
    ) -> None:
        self._list_nodes, self._start_check = list_nodes, start_check
        self._driver_node_id, self._print_line = driver_node_id, print_line
        self._known: dict[str, NodeStatus] = {}
        self._last_look = -LOOK_EVERY_SECONDS

    def wait_until_checked(self) -> list[Node]:
        """Wait until all nodes that are up have answered and return the usable ones; SearchError if there is none."""
        ends = time.monotonic() + ANSWER_SECONDS
        self.update()
        while any(status.unusable is None for status in self._known.values()) and time.monotonic() < ends:
            time.sleep(0.1)
            self.update()
        if not (usable := self.usable()):
            reasons = "; ".join(f"{s.node.name}: {s.unusable or 'no answer'}" for s in self._known.values())
            raise SearchError(f"no node of the cluster can run trials ({reasons})")
        return usable

    def usable(self) -> list[Node]:
        """Nodes that can run trials."""
        return [status.node for status in self._known.values() if status.unusable == ""]

    def excluded_ids(self) -> list[str]:
        """Ids of the nodes that are up at this moment and get no trials."""
        self._look_around()  # a node that has just joined has not been checked
        return sorted(node_id for node_id, status in self._known.items() if status.unusable != "")

    def ids_with_room(self, slots: Slots) -> list[str]:
        """Ids of the usable nodes that are large enough for a trial."""
        return [node.node_id for node in self.usable() if slots.fit_on(node)]

    def capacity(self, slots: Slots) -> int:
        """How many trials fit on the usable nodes at a time."""
        return sum(map(slots.fit_on, self.usable()))

    def update(self) -> None:
        """Find out which nodes are up, every LOOK_EVERY_SECONDS at most; start checks and read their results."""
        now = time.monotonic()
        if now - self._last_look >= LOOK_EVERY_SECONDS:
            self._last_look = now
            self._look_around()
        for status in self._known.values():
            self._advance_check(status, now)

    def _look_around(self) -> None:
        up = {node.node_id: node for node in self._list_nodes()}
        for node_id in [known for known in self._known if known not in up]:
            self._print_line(f"node {self._known.pop(node_id).node.name} has left; its trials go on elsewhere")
        first_look = not self._known
        for node_id in [new for new in up if new not in self._known]:
            self._known[node_id] = NodeStatus(up[node_id], "" if node_id == self._driver_node_id else None)
            if not first_look:
                self._print_line(f"node {up[node_id].name} has joined")

    def _advance_check(self, status: NodeStatus, now: float) -> None:
        if status.check is None:
            if status.unusable is None or (status.unusable and now - status.checked_at > CHECK_AGAIN_SECONDS):
                status.check, status.checked_at = self._start_check(status.node.node_id), now
            return
        finished, _ = ray.wait([status.check], timeout=0)
        if finished:
            self._read_result(status, finished[0])
        elif now - status.checked_at > ANSWER_SECONDS:
            # The node is checked again later, and each check that hangs there would keep a process of its own.
            ray.cancel(status.check, force=True)
            status.check = None
            self._set_reason(status, f"no answer within {ANSWER_SECONDS:g} s")

    def _read_result(self, status: NodeStatus, result: Any) -> None:
        status.check = None
        try:
            self._set_reason(status, ray.get(result))
        except ray.exceptions.RayError as error:  # the node may just be leaving, which the next look shows
            self._set_reason(status, str(error).strip().splitlines()[-1])

    def _set_reason(self, status: NodeStatus, reason: str) -> None:
        if reason and reason != status.unusable:
            self._print_line(f"node {status.node.name} takes no trials: {reason}")
        elif status.unusable and not reason:
            self._print_line(f"node {status.node.name} takes trials again")
        status.unusable = reason

    def on_step_begin(self, iteration: int, trials: list[TuneTrial], **info: Any) -> None:
        self.update()

    def on_trial_recover(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        self._read_failure(trial.last_failure)

    def on_trial_error(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        self._read_failure(trial.last_failure)

    def _read_failure(self, failure: str) -> None:
        """Exclude a node if the trial reports that the node lacks something, until the next check of the node."""
        node_id, reason = parse_node_error(failure) or ("", "")
        if status := self._known.get(node_id):
            status.checked_at = time.monotonic()
            self._set_reason(status, reason)


def cluster_nodes_for(
    study: Study, data: DataConfig, print_line: Callable[[str], object], *, on_gpus: bool
) -> ClusterNodes:
    """The nodes of the cluster that this process has joined, checked for the trials of ``study``.

    ``on_gpus`` says that trials may train on GPUs: then the driver's node is checked, too, if it has one.
    """
    text = (study.directory / STUDY_JSON).read_text(encoding="utf-8")
    arguments = (study.directory.absolute(), text, asdict(data), study.info["data"]["fingerprint"])

    def needs_gpu(node_id: str) -> bool:
        return on_gpus and any(node.gpus >= 1 for node in session.nodes() if node.node_id == node_id)

    def start_check(node_id: str) -> Any:
        return session.call_on_node(node_id, why_unusable, *arguments, needs_gpu(node_id))

    here = session.this_node_id()
    return ClusterNodes(session.nodes, start_check, "" if needs_gpu(here) else here, print_line)
