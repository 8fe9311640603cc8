"""What one trial does inside a Ray worker, which stays alive and runs many of them."""

import math
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ray
from ray import tune

from inat.constants import TRIAL_ID

# Settings of a trial that are not hyperparameters and do not describe the training.
STUDY_DIR, THRESHOLD, TIMEOUT, RUNGS = "study_dir", "threshold", "trial_timeout", "rungs"
DRIVER_NODE = "driver_node"  # Ray's id of the machine that the search runs on
WEIGHTS_SHA256 = "weights_sha256"  # a dict over backbones, of which a trial's TrialConfig takes its own
SEED, FINGERPRINT = "seed", "fingerprint"  # fields of TrialConfig and its parts


def run_trial(params: Mapping[str, Any]) -> None:
    """Train one configuration, given as a flat dict of primitives, and report every epoch to Tune.

    An attempt that died before left ``last.ckpt``, from which this one goes on. Tune ends a stopped trial by raising
    SystemExit inside its report, so whatever a trial leaves behind is cleaned up in ``finally``.
    """
    # Imported by the worker, not by the driver that only ships this function.
    import torch

    from inat.training.memory import collect_garbage, release_freed_memory
    from inat.tuning.ray_backend.nodes import as_node_error

    torch.set_num_threads(_cpus())  # Ray sets one thread whatever the trial was given
    settings = dict(params)
    driver_node = settings.pop(DRIVER_NODE)
    try:
        with as_node_error(_node(), driver_node):
            _train(settings)
    except BaseException as error:
        traceback.clear_frames(error.__traceback__)  # they hold the network and its last batch
        raise
    finally:
        collect_garbage()
        release_freed_memory()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _train(settings: dict[str, Any]) -> None:
    from inat.config.trial import TrialConfig
    from inat.constants import CHECKPOINTS_DIR, ERRORS_DIR, HANG_SUFFIX, LAST_CKPT
    from inat.training.fit import fit
    from inat.tuning.worker.callbacks import ReportToTune, TrialCheckpoints, Watchdog

    trial_id, study_dir = settings.pop(TRIAL_ID), Path(settings.pop(STUDY_DIR))
    threshold, timeout, rungs = (settings.pop(name) for name in (THRESHOLD, TIMEOUT, RUNGS))
    hashes = settings.pop(WEIGHTS_SHA256)
    if "backbone" in settings:
        settings[WEIGHTS_SHA256] = hashes.get(settings["backbone"], "")
    config = TrialConfig.from_params(settings)
    # Lightning hangs the network on every callback: they must not outlive this function.
    checkpoints = TrialCheckpoints(study_dir / CHECKPOINTS_DIR / trial_id, threshold)
    with Watchdog(study_dir / ERRORS_DIR / f"{trial_id}{HANG_SUFFIX}", timeout) as watchdog:
        callbacks = [checkpoints, watchdog, ReportToTune(rungs)]
        fit(config, callbacks, resume_from=checkpoints.directory / LAST_CKPT, heartbeat=watchdog.heartbeat)


def _node() -> str:
    node_id: str = ray.get_runtime_context().get_node_id()
    return node_id


def _cpus() -> int:
    resources = tune.get_context().get_trial_resources()
    cpus: float = resources.required_resources.get("CPU", 1)
    return max(1, math.floor(cpus))
