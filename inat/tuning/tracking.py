"""Weights & Biases, off unless asked for: one run a trial, grouped by study."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from inat.config import TrialConfig
from inat.errors import ConfigError
from inat.naming import short_name

if TYPE_CHECKING:
    from pytorch_lightning.loggers import Logger

PROJECT = "inat"


def check(mode: str) -> None:
    """Raise ConfigError before the search starts if ``mode`` is online and nobody is logged in."""
    if mode != "online":
        return
    import wandb

    if not wandb.api.api_key:
        raise ConfigError("--wandb online needs an API key: run `wandb login` or set WANDB_API_KEY, or use offline")


def trial_logger(mode: str, study_dir: Path, trial_id: str, config: TrialConfig) -> "Logger | None":
    """The run of one trial, named by its hyperparameters; None if tracking is off."""
    if mode == "off":
        return None
    os.environ.setdefault("WANDB_SILENT", "true")
    from pytorch_lightning.loggers import WandbLogger

    params = config.to_params()
    logger = WandbLogger(
        project=os.environ.get("WANDB_PROJECT", PROJECT), name=short_name(params), group=study_dir.name,
        id=f"{study_dir.name}-{trial_id}", save_dir=study_dir, offline=mode == "offline", resume="allow",
    )  # fmt: skip
    logger.log_hyperparams(params)
    return logger


def close(logger: "Logger | None") -> None:
    """End the trial's run, however the trial ended."""
    if logger is not None:
        import wandb

        wandb.finish()
