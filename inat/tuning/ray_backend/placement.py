"""Where trials run: on nodes that can run them, even when Ray's head has lost count of what is free."""

import time
from collections.abc import Callable, Iterable
from typing import Any

from ray.tune import Callback, PlacementGroupFactory
from ray.tune.experiment import Trial as TuneTrial
from ray.util.placement_group import PlacementGroup, placement_group, placement_group_table

from inat.tuning.ray_backend.snapshots import NotInSnapshots

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 3.0, 60.0
PLACED = {"CREATED", "REMOVED", None}  # states of a placement group that waits no longer


class ResourceRefresh(NotInSnapshots, Callback):
    """While a trial waits for a placement group, makes the nodes report their free resources.

    If the head cannot reach a node at the moment in which it places a trial there, the head gives the placement up but
    counts the resources of the trial as taken until the node reports a change, which a node without trials never does
    (ray 2.60.0). This happens to a node that comes back within a minute at the same address and port, because gRPC
    waits before it connects again. A trial may also wait because other users occupy the cluster, so the pauses grow.
    ``node_ids`` returns the ids of the nodes that can run trials; ``refresh`` makes one node report.
    """

    def __init__(self, node_ids: Callable[[], Iterable[str]], refresh: Callable[[str], object]) -> None:
        self._node_ids, self._refresh = node_ids, refresh
        self._pending: list[PlacementGroup] = []
        self._pause, self._last_look = FIRST_PAUSE_SECONDS, 0.0

    def on_request(self, group: PlacementGroup) -> None:
        """Note a placement group that a trial requests."""
        self._pending.append(group)
        self._pause, self._last_look = FIRST_PAUSE_SECONDS, time.monotonic()  # usually there is room at once

    def on_step_begin(self, iteration: int, trials: list[TuneTrial], **info: Any) -> None:
        if not self._pending or time.monotonic() - self._last_look < self._pause:
            return
        self._last_look = time.monotonic()
        known = placement_group_table()
        self._pending = [g for g in self._pending if known.get(g.id.hex(), {}).get("state") not in PLACED]
        if self._pending:
            self._pause = min(2 * self._pause, LONGEST_PAUSE_SECONDS)
            for node_id in self._node_ids():
                self._refresh(node_id)


class UsableNodes(PlacementGroupFactory):
    """The resources of a trial, on any node that is not excluded when the trial is placed.

    Two factories are equal if their resources are, whatever is excluded, so that Tune lets trials reuse processes.
    ``excluded`` returns node ids; ``on_request`` is called with each placement group.
    """

    def __init__(
        self,
        bundle: dict[str, float],
        excluded: Callable[[], list[str]] | None = None,
        on_request: Callable[[PlacementGroup], object] | None = None,
    ) -> None:
        super().__init__([bundle])
        self._excluded, self._on_request = excluded, on_request

    def to_placement_group(self) -> PlacementGroup:
        nodes = self._excluded() if self._excluded else ()
        selector = [{"ray.io/node-id": f"!in({','.join(nodes)})"}] if nodes else None
        group = placement_group(self.bundles, strategy=self.strategy, bundle_label_selector=selector)
        if self._on_request:
            self._on_request(group)
        return group

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = super().__getstate__()
        return state | {"_excluded": None, "_on_request": None}  # functions of the driver; other processes have none
