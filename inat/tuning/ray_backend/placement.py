"""Where trials are placed: on machines that can run them, also where Ray's head has lost count of what is free."""

import time
from collections.abc import Callable, Iterable
from typing import Any

from ray.tune import Callback, PlacementGroupFactory
from ray.tune.experiment import Trial as TuneTrial
from ray.util.placement_group import PlacementGroup, placement_group, placement_group_table

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 3.0, 60.0


class ResourceRefresh(Callback):
    """While a trial waits for a placement group, has machines report what is free; use as one of Tune's callbacks.

    If the head cannot reach a machine in the moment in which it places a trial there, it gives the placement up but
    counts what the trial needed as taken until the machine reports a change, which one without trials never does
    (ray 2.60.0). It happens to a machine that comes back within a minute at the same address and port: gRPC connects
    there again only some time after it failed to. A trial may also wait because others use the cluster, so the pauses
    grow. ``machines`` gives the ids of those that can run trials.
    """

    def __init__(self, machines: Callable[[], Iterable[str]], refresh: Callable[[str], object]) -> None:
        self._machines, self._refresh = machines, refresh
        self._pending: list[PlacementGroup] = []
        self._pause, self._looked = FIRST_PAUSE_SECONDS, 0.0

    def requested(self, group: PlacementGroup) -> None:
        """To be called with each placement group that a trial asks for."""
        self._pending.append(group)
        self._pause, self._looked = FIRST_PAUSE_SECONDS, time.monotonic()  # usually there is room at once

    def on_step_begin(self, iteration: int, trials: list[TuneTrial], **info: Any) -> None:
        if not self._pending or time.monotonic() - self._looked < self._pause:
            return
        self._looked = time.monotonic()
        known = placement_group_table()
        over = {"CREATED", "REMOVED", None}
        self._pending = [g for g in self._pending if known.get(g.id.hex(), {}).get("state") not in over]
        if self._pending:
            self._pause = min(2 * self._pause, LONGEST_PAUSE_SECONDS)
            for node_id in self._machines():
                self._refresh(node_id)

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles its callbacks into a snapshot that we never read


class UsableNodes(PlacementGroupFactory):
    """What a trial needs, on any machine but those excluded at the moment it is placed.

    Equal for all trials, whatever is excluded, so that Tune gives them each other's processes. ``requested`` is called
    with each placement group.
    """

    def __init__(
        self,
        bundle: dict[str, float],
        excluded: Callable[[], list[str]] | None = None,
        requested: Callable[[PlacementGroup], object] | None = None,
    ) -> None:
        super().__init__([bundle])
        self._excluded, self._requested = excluded, requested

    def to_placement_group(self) -> PlacementGroup:
        nodes = self._excluded() if self._excluded else ()
        selector = [{"ray.io/node-id": f"!in({','.join(nodes)})"}] if nodes else None
        group = placement_group(self.bundles, strategy=self.strategy, bundle_label_selector=selector)
        if self._requested:
            self._requested(group)
        return group

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = super().__getstate__()
        return state | {"_excluded": None, "_requested": None}  # in a process of its own nothing is known of machines
