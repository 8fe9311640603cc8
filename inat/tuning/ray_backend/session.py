"""A Ray session for the length of a search: a private one on this machine, or a running cluster."""

import logging
import os
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import ray
from ray._private import services, state
from ray.tune.constants import TUNE_ENV_VARS
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from inat.config.search import SearchConfig
from inat.errors import ConfigError, SearchError
from inat.machine import usable_memory
from inat.training import memory
from inat.tuning.ray_backend import tokens
from inat.tuning.ray_backend.private_session import private_ray
from inat.tuning.ray_backend.slots import Node

CONNECT_SECONDS = 10

# What Ray and Tune read from the environment; a value that the user has set wins.
ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing leaves the machine unless the user asks for it
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # the coming default; silences a notice
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # relative paths start where the user typed them
    "RAY_AIR_NEW_OUTPUT": "0",  # the older reporter is silent at verbose=0, the newer one is not
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # the study directory replaces Tune's CSV, JSON and TensorBoard files
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # inat.tuning.stoppers handles signals
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",  # a failed trial prints one line; its traceback is in errors/
    "TUNE_GLOBAL_CHECKPOINT_S": "86400",  # resuming reads the study, not Tune's snapshots
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    "TUNE_MAX_PENDING_TRIALS_PG": "1000",  # the slots limit the trials, and their number may grow
    "TUNE_FUNCTION_THREAD_TIMEOUT_S": "60",  # a stopped trial may be writing a large checkpoint
    **memory.ENVIRONMENT,  # workers inherit it
}

# Tune raises for TUNE_RESULT_DIR and RAY_AIR_LOCAL_CACHE_DIR, which older versions read, and for a text where it wants
# a number; RAY_TUNE_CALLBACKS runs code, and other variables delay the epochs that the journal is made of.
IGNORED = sorted((TUNE_ENV_VARS | {"TUNE_RESULT_DIR", "RAY_AIR_LOCAL_CACHE_DIR"}) - ENVIRONMENT.keys())


def environment() -> dict[str, str]:
    """ENVIRONMENT; unless both outputs are terminals, Ray also writes no colours before the lines of workers."""
    terminal = sys.stdout.isatty() and sys.stderr.isatty()
    return ENVIRONMENT if terminal else ENVIRONMENT | {"RAY_COLOR_PREFIX": "0"}


@contextmanager
def ray_session(config: SearchConfig) -> Iterator[None]:
    """Connect to ``config.address``, or start Ray on this machine only; disconnects, or ends Ray, on leaving."""
    for name in IGNORED:
        os.environ.pop(name, None)
    for name, value in environment().items():
        os.environ.setdefault(name, value)
    level = logging.INFO if config.debug else logging.ERROR
    connect = private_ray(level) if config.address is None else _join(config.address, level)
    with connect:
        if not config.debug:
            for name in ("ray.tune", "ray.train", "ray.air"):
                logging.getLogger(name).setLevel(logging.ERROR)
            logging.getLogger("ray.tune.tune").addFilter(_is_news)
            # Tune's snapshots are never read. They fail with a traceback if the disk is full, which inat itself tells.
            logging.getLogger("ray.tune.execution.experiment_state").setLevel(logging.CRITICAL)
        yield


def _is_news(record: logging.LogRecord) -> bool:
    return "Trials did not complete" not in record.getMessage()  # each failed trial has printed its reason


@contextmanager
def _join(address: str, level: int) -> Iterator[None]:
    try:
        located = _locate(address)
        if located.startswith("ray://"):
            raise ConfigError(
                f"--address {located} is a Ray client address, but the search writes its study on the driver's "
                "machine; run it on a machine of the cluster with --address auto (`ray exec`)"
            )
        _check_reachable(located)
        tokens.use_token_of_user()
        workers = {"env_vars": memory.ENVIRONMENT}  # workers of a cluster do not inherit the driver's environment
        # Without --debug, the log lines of the servers on all nodes are left out.
        ray.init(address=located, logging_level=level, runtime_env=workers, log_to_driver=level == logging.INFO)
    except (OSError, ValueError, RuntimeError) as error:
        raise SearchError(
            f"no Ray cluster answers at --address {address} ({str(error).splitlines()[0]}); "
            "check it with `ray status`, or leave --address out to use this machine"
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


def _locate(address: str) -> str:
    """Return host:port of the cluster that Ray understands by ``address``; ConnectionError if there is none."""
    if address != "auto":
        return address
    found: str = services.get_ray_address_from_environment(address, None)
    return found


def _check_reachable(address: str) -> None:
    """Raise OSError if nothing listens at host:port; Ray itself would retry for many minutes."""
    host, _, port = address.rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_SECONDS).close()


def nodes() -> list[Node]:
    """Return the nodes of the session that are up; ConfigError if there is none."""
    found = [_node(node) for node in ray.nodes() if node["Alive"]]
    if not found:
        raise ConfigError("the Ray cluster has no live node; check it with `ray status`")
    return found


def private_nodes() -> list[Node]:
    """Return this machine as the only node of a private session, with the memory that a search may use of it."""
    return [replace(node, memory=usable_memory()) for node in nodes()]


def _node(known: Mapping[str, Any]) -> Node:
    resources, name = known["Resources"], known["NodeManagerHostname"]
    return Node(resources.get("CPU", 0.0), resources.get("GPU", 0.0), name, known["NodeID"])


def free_resources() -> dict[str, dict[str, float]]:
    """Return what is free on each node, by node id; a node that is down is missing."""
    free: dict[str, dict[str, float]] = state.available_resources_per_node()
    return free


def this_node_id() -> str:
    """Return Ray's id of the node that this process runs on."""
    node_id: str = ray.get_runtime_context().get_node_id()
    return node_id


def call_on_node(node_id: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function on a node, outside of the slots; returns Ray's reference to the result."""
    return _on_node(node_id, function, num_cpus=0).remote(*arguments)


def refresh_resources(node_id: str) -> None:
    """Make a node report its free resources to the head, by taking 1 byte of its memory for a moment."""
    _on_node(node_id, _do_nothing, num_cpus=0, memory=1).remote()


def _do_nothing() -> None:
    pass


def _on_node(node_id: str, function: Callable[..., Any], **resources: float) -> Any:
    strategy = NodeAffinitySchedulingStrategy(node_id, soft=False)
    return ray.remote(function).options(max_retries=0, scheduling_strategy=strategy, **resources)
