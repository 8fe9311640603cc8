"""Where trials are placed: on machines that can run them, also where Ray's head has lost count of what is free."""

import time
from collections.abc import Callable, Iterable
from typing import Any

from ray.tune import Callback, PlacementGroupFactory
from ray.tune.experiment import Trial as TuneTrial
from ray.util.placement_group import PlacementGroup, placement_group, placement_group_table

STIR_SECONDS = 3.0


class StirWhoIdles(Callback):
    """While a trial waits for a place, has the machines report what is free; use as one of Tune's callbacks.

    If the head cannot reach a machine in the moment in which it places a trial there, it puts the trial elsewhere and
    counts what the trial needed as taken until the machine reports a change, which one without trials never does
    (ray 2.60.0). It happens to a machine that comes back within a minute at the same address and port: to this gRPC
    connects again only some time after it failed to.
    """

    def __init__(self, fit: Callable[[], Iterable[str]], stir: Callable[[str], object]) -> None:
        self._fit, self._stir = fit, stir
        self._wanted: list[PlacementGroup] = []
        self._stirred = time.monotonic()

    def wants(self, group: PlacementGroup) -> None:
        """To be called with each place that is asked for."""
        if not self._wanted:
            self._stirred = time.monotonic()  # usually there is one at once
        self._wanted.append(group)

    def on_step_begin(self, iteration: int, trials: list[TuneTrial], **info: Any) -> None:
        if not self._wanted or time.monotonic() - self._stirred < STIR_SECONDS:
            return
        self._stirred = time.monotonic()
        known = placement_group_table()
        self._wanted = [g for g in self._wanted if known.get(g.id.hex(), {}).get("state") == "PENDING"]
        for node_id in self._fit() if self._wanted else ():
            self._stir(node_id)

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles its callbacks into a snapshot that we never read


class FitMachines(PlacementGroupFactory):
    """What a trial needs, on any machine but those excluded at the moment it is placed.

    Equal for all trials, whatever is excluded, so that Tune gives them each other's processes.
    """

    def __init__(
        self,
        bundle: dict[str, float],
        excluded: Callable[[], list[str]] | None = None,
        wants: Callable[[PlacementGroup], object] | None = None,
    ) -> None:
        super().__init__([bundle])
        self._excluded, self._wants = excluded, wants

    def to_placement_group(self) -> PlacementGroup:
        nodes = self._excluded() if self._excluded else ()
        selector = [{"ray.io/node-id": f"!in({','.join(nodes)})"}] if nodes else None
        group = placement_group(self.bundles, strategy=self.strategy, bundle_label_selector=selector)
        if self._wants:
            self._wants(group)
        return group

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = super().__getstate__()
        return state | {"_excluded": None, "_wants": None}  # in a process of its own nothing is known of machines
