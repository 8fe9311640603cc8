"""A Ray session for the length of a search: a private one on this machine, or a running cluster."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

import ray

from inat.config import SearchConfig
from inat.errors import ConfigError, SearchError
from inat.tuning.slots import Node

LOOPBACK = "127.0.0.1"
# Nothing passes through the object store: trials open the photo store themselves. Ray's least is 75 MB.
OBJECT_STORE_BYTES = 100_000_000

# What Ray and Tune read from the environment; a user's own setting wins.
ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing leaves the machine unless asked for
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # the coming default; silences a notice
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # relative paths mean what they mean where the user typed them
    "RAY_AIR_NEW_OUTPUT": "0",  # the older reporter is silent at verbose=0, the newer one is not
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # the study directory replaces Tune's CSV, JSON and TensorBoard files
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # inat.tuning.interrupt has its own
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",  # a failed trial is one line; its traceback is in ray/
    "TUNE_GLOBAL_CHECKPOINT_S": "86400",  # resuming reads the study, not Tune's snapshots
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    "TUNE_FUNCTION_THREAD_TIMEOUT_S": "60",  # a stopped trial may be writing a large checkpoint
}


@contextmanager
def ray_session(config: SearchConfig) -> Iterator[None]:
    """Connect to ``config.address``, or start Ray on this machine only; always disconnected, and ended, on leaving."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        _connect(config)
    except (ConnectionError, ValueError, RuntimeError, TimeoutError) as error:
        where = config.address or "this machine"
        raise SearchError(
            f"cannot start Ray on {where}: {str(error).splitlines()[0]}; check --address, or leave it out"
        ) from error
    try:
        if not config.debug:
            for name in ("ray.tune", "ray.train", "ray.air"):
                logging.getLogger(name).setLevel(logging.ERROR)
        yield
    finally:
        ray.shutdown()


def _connect(config: SearchConfig) -> None:
    level = logging.INFO if config.debug else logging.ERROR
    if config.address is not None:
        ray.init(address=config.address, logging_level=level)
        return
    ray.init(
        address="local",  # never a cluster that RAY_ADDRESS happens to name
        include_dashboard=False,
        object_store_memory=OBJECT_STORE_BYTES,
        logging_level=level,
        _node_ip_address=LOOPBACK,
    )


def nodes() -> list[Node]:
    """The machines of the session that are up."""
    up = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    found = [Node(resources.get("CPU", 0.0), resources.get("GPU", 0.0)) for resources in up]
    if not found:
        raise ConfigError("the Ray cluster has no live node; check it with `ray status`")
    return found
