"""What one trial does inside a Ray worker, which stays alive and runs many trials."""

import math
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ray import tune

from inat.constants import CHECKPOINTS_DIR, LAST_CKPT, PRECISION_JSONL, TRIAL_ID
from inat.tuning.rules import FEATURE_RULES, MEASURED, PRECISION_RULE

# Settings of a trial that are neither hyperparameters nor fields of its TrialConfig.
STUDY_DIR, THRESHOLD, TIMEOUT, RUNGS = "study_dir", "threshold", "trial_timeout", "rungs"
REPEATS = "repeats"
# Of a training that has to end in time: when, and the seconds that its epochs are expected to take; see Pace.
ENDS, EXPECTED_SECONDS = "ends", "expected_seconds"
# A dict of settings of the trial itself, in the place of those that all trials share: how long it trains.
LENGTH = "length"
KNOWN_EPOCHS = "known_epochs"  # number of epochs, from the first on, whose rows the journal has
DRIVER_NODE = "driver_node"  # Ray's id of the node that the search runs on
WEIGHTS_SHA256 = "weights_sha256"  # a dict over backbones; the TrialConfig of a trial takes the hash of its own
MODEL_FILE = "model_file"  # the study's copy of the file with the network of the user, "" for other networks
SEED, FINGERPRINT = "seed", "fingerprint"  # fields of TrialConfig and its parts


def run_trial(params: Mapping[str, Any], own_callbacks: bytes = b"") -> None:
    """Train one configuration, given as a flat dict of primitives, and report every epoch to Tune.

    ``own_callbacks`` are callbacks of the user as ``own_callbacks.dump`` writes them. Training goes on from the
    ``last.ckpt`` of an attempt that died. To stop a trial, Tune raises SystemExit inside its report, so ``finally``
    frees what the trial leaves behind.
    """
    # Imported by the worker and not by the driver, which only ships this function.
    from inat.device import gpu_share

    with gpu_share(_share_of_gpu()):  # before torch looks for GPUs
        _run_on_node(params, own_callbacks)


def _run_on_node(params: Mapping[str, Any], own_callbacks: bytes) -> None:
    import torch

    from inat.device import claim_share, free_cached, this_device
    from inat.training.memory import collect_garbage, release_freed_memory
    from inat.tuning.ray_backend.node_checks import as_node_error
    from inat.tuning.ray_backend.session import this_node_id

    torch.set_num_threads(_cpus())  # Ray sets one thread, whatever the trial was given
    settings = dict(params)
    driver_node_id = settings.pop(DRIVER_NODE)
    try:
        with as_node_error(this_node_id(), driver_node_id):
            claim_share()
            _train(settings, own_callbacks)
    except BaseException as error:
        traceback.clear_frames(error.__traceback__)  # they hold the network and its last batch
        raise
    finally:
        collect_garbage()
        release_freed_memory()
        torch.backends.cudnn.benchmark = False  # Lightning leaves it as the training had it
        free_cached(this_device())


def _train(settings: dict[str, Any], own_callbacks: bytes) -> None:
    from inat.config.own_model import read_model_file
    from inat.config.trial import TrialConfig
    from inat.models.own_code import allow_model_file
    from inat.training.fold_series import FoldSeries, fit_series
    from inat.training.pace import Pace
    from inat.training.precision_choice import settle_precision
    from inat.training.validation_answers import ValidationAnswers
    from inat.tuning.ray_backend.hang_monitor import Watchdog, hang_file
    from inat.tuning.worker.callbacks import Heartbeat, PreparationTime, ReportToTune, TrialCheckpoints
    from inat.tuning.worker.own_callbacks import load

    settings |= settings.pop(LENGTH, {})
    trial_id, study_dir = settings.pop(TRIAL_ID), Path(settings.pop(STUDY_DIR))
    threshold, timeout, rungs = (settings.pop(name) for name in (THRESHOLD, TIMEOUT, RUNGS))
    known_epochs, hashes = settings.pop(KNOWN_EPOCHS), settings.pop(WEIGHTS_SHA256)
    if model_file := settings.pop(MODEL_FILE, ""):
        allow_model_file(read_model_file(model_file))
    if "backbone" in settings:
        settings[WEIGHTS_SHA256] = hashes.get(settings["backbone"], "")
    else:
        settings.pop(FEATURE_RULES, None)
    repeats, rule = settings.pop(REPEATS, 1), settings.pop(PRECISION_RULE, "")
    ends, expected = settings.pop(ENDS, None), settings.pop(EXPECTED_SECONDS, None)
    config = TrialConfig.from_params(settings)
    pace = None if ends is None else Pace(ends, expected, config.max_epochs)
    if rule == MEASURED:
        config = settle_precision(config, study_dir / PRECISION_JSONL)
    series = FoldSeries(config, repeats)
    # Lightning attaches the network to every callback: callbacks must not outlive this function.
    answers, directory = ValidationAnswers(), study_dir / CHECKPOINTS_DIR / trial_id
    checkpoints = TrialCheckpoints(directory, threshold if series.count == 1 else None, answers)
    with Watchdog(hang_file(study_dir, trial_id), timeout) as watchdog:
        report = ReportToTune(rungs, known_epochs)
        callbacks = [
            *load(own_callbacks), PreparationTime(), answers, checkpoints, Heartbeat(watchdog.heartbeat), report,
        ]  # fmt: skip
        fit_series(
            series,
            callbacks,
            resume_from=directory / LAST_CKPT,
            known_epochs=known_epochs,
            heartbeat=watchdog.heartbeat,
            pace=pace,
        )


def _cpus() -> int:
    return max(1, math.floor(_resources().get("CPU", 1.0)))


def _share_of_gpu() -> float:
    return _resources().get("GPU", 0.0)


def _resources() -> dict[str, float]:
    given: dict[str, float] = tune.get_context().get_trial_resources().required_resources
    return given
