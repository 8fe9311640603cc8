"""Trials without processes: one asynchronous actor runs hundreds of them; the rest of the search is real.

Tune starts one process per trial, and 500 do not fit on one machine. Here the driver still makes one placement group
per trial, sends each call to an actor and waits for one future per trial. Only in place of the trial's actor it gets a
stand-in that forwards each call to one shared actor, which waits and reports as a trial does.
"""

import asyncio
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray.air.execution.resources import resource_manager


class TrialHost:
    """The actor that runs all fake trials: ``reports`` reports per trial, ``seconds`` apart."""

    def __init__(self, seconds: float, reports: int) -> None:
        self.seconds, self.reports = seconds, reports
        self.configs: dict[int, dict[str, Any]] = {}
        self.done: dict[int, int] = {}

    async def call(self, key: int, method: str, config: dict[str, Any] | None) -> Any:
        """What the trial ``key`` would return from ``method``; ``config`` starts a new trial."""
        if config is not None:
            self.configs[key], self.done[key] = config, 0
        if method != "train":
            return True
        await asyncio.sleep(self.seconds)
        self.done[key] += 1
        return self.result(self.configs[key], self.done[key])

    def result(self, config: dict[str, Any], epoch: int) -> dict[str, Any]:
        """A trial's report, with the fields that Tune adds."""
        value = float(1 - abs(config["dropout"] - 0.3) - abs(config["learning_rate"] - 1e-3)) * epoch / self.reports
        return {
            "epoch": epoch, "best_val_acc": value, "training_iteration": epoch, "done": epoch >= self.reports,
            "date": "", "timestamp": int(time.time()), "time_this_iter_s": self.seconds, "pid": os.getpid(),
            "time_total_s": epoch * self.seconds, "hostname": platform.node(), "node_ip": "127.0.0.1", "config": config,
            "time_since_restore": epoch * self.seconds, "iterations_since_restore": epoch,
        }  # fmt: skip


class StandIn:
    """Behaves to Tune like the actor of one trial."""

    def __init__(self, host: Any, key: int, config: dict[str, Any]) -> None:
        self._host, self._key, self._config = host, key, config

    def __getattr__(self, method: str) -> "Method":
        return Method(self, method)

    def send(self, method: str, args: tuple[Any, ...]) -> Any:
        """Call ``method`` of the trial; returns a future."""
        first = method == "__ray_ready__"
        config = self._config if first else args[0] if method == "reset" else None
        return self._host.call.remote(self._key, method, config)


class Method:
    """A method of a stand-in; called as ``.remote(...)``."""

    def __init__(self, actor: StandIn, name: str) -> None:
        self._actor, self._name = actor, name

    def remote(self, *args: Any, **kwargs: Any) -> Any:
        """Call the method; returns a future."""
        return self._actor.send(self._name, args or tuple(kwargs.values()))


@contextmanager
def fake_trials(seconds: float, reports: int) -> Iterator[None]:
    """Within the block, each Tune trial waits ``seconds`` and reports, ``reports`` times, instead of running."""
    hosts: list[Any] = []
    keys = iter(range(10**9))

    class FakeClass:
        @staticmethod
        def remote(**kwargs: Any) -> StandIn:
            if not hosts:
                hosts.append(ray.remote(num_cpus=0, max_concurrency=2000)(TrialHost).remote(seconds, reports))
            return StandIn(hosts[0], next(keys), kwargs["config"])

    before = resource_manager.AcquiredResources.annotate_remote_entities
    resource_manager.AcquiredResources.annotate_remote_entities = lambda self, entities: [FakeClass for _ in entities]
    try:
        yield
    finally:
        resource_manager.AcquiredResources.annotate_remote_entities = before
