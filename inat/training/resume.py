"""Whether a training may go on from a checkpoint.

``last.ckpt`` holds the rows of all its epochs, so that an attempt can report what a power cut took from the journal. A
checkpoint is not used if it is damaged, if another configuration wrote it, or if the weights of its best epoch are
gone: the training then starts with the first epoch.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from inat.config.trial import TrialConfig
from inat.constants import AHEAD_CKPT, BEST_CKPT, EPOCH
from inat.study.checkpoint_file import is_intact
from inat.training.epoch_recorder import IDENTITY, EpochRecorder, identity_of, is_identity_of

START_AGAIN = "started again from the first epoch"


def discard_unusable(checkpoint: Path, config: TrialConfig, known_epochs: int | None = None) -> str:
    """Remove ``checkpoint`` if a training of ``config`` cannot go on from it; return a note about it, "" if it can.

    ``known_epochs`` is the number of epochs, from the first on, whose rows the study has. Checkpoints of earlier
    versions lack the rows of earlier epochs, so one that is further than the study is not used either.
    """
    if not checkpoint.exists():
        return ""
    reason = _reason_against(checkpoint, config, known_epochs)
    if not reason:
        return ""
    checkpoint.unlink()
    return f"{checkpoint.name} {reason}: {START_AGAIN}"


def _reason_against(checkpoint: Path, config: TrialConfig, known_epochs: int | None) -> str:
    # A damaged file is not tried: no attempt could read it, and the trial would fail.
    state = recorder_state(checkpoint) if is_intact(checkpoint) else None
    if state is None:
        return "was damaged"
    identity = state.get(IDENTITY, identity_of(config))
    if not (isinstance(identity, dict) and is_identity_of(identity, config)):
        return "was written by another configuration"
    if state.get("saved_epoch", 0) > max(_intact_epoch(checkpoint.with_name(name)) for name in (BEST_CKPT, AHEAD_CKPT)):
        return f"had lost its {BEST_CKPT}"
    first_row = state[EPOCH] - len(state.get("history", state["unreported"])) + 1
    if known_epochs is not None and first_row > known_epochs + 1:
        return "was ahead of the journal"
    return ""


def recorder_state(checkpoint: Path) -> Mapping[str, Any] | None:
    """The state of the EpochRecorder in a ``last.ckpt``; None if the file is none."""
    callbacks = checkpoint_value(checkpoint, "callbacks")
    state = callbacks.get(EpochRecorder.__name__) if isinstance(callbacks, dict) else None
    if not isinstance(state, dict) or not isinstance(state.get("unreported"), list):
        return None
    return state if isinstance(state.get(EPOCH), int) else None


def is_weights_of(checkpoint: Path, recorder: EpochRecorder) -> bool:
    """Whether a ``best.ckpt`` holds the weights of the epoch that ``recorder`` would have kept.

    Where validation images are trained on, these are of the last epoch, and those of a later one serve as well until
    the training has caught up.
    """
    row = checkpoint_row(checkpoint)
    if recorder.config.data.train_on_val and 0 < recorder.epoch <= row.get(EPOCH, 0):
        return is_intact(checkpoint)
    best = row.get(recorder.config.objective.best_column)
    kept = (row.get(EPOCH), best) == (recorder.kept_epoch, recorder.kept_value)
    return kept and is_intact(checkpoint)


def _intact_epoch(checkpoint: Path) -> int:
    return int(checkpoint_row(checkpoint).get(EPOCH, 0)) if is_intact(checkpoint) else 0


def checkpoint_row(checkpoint: Path) -> dict[str, Any]:
    """The row of the epoch whose weights a ``best.ckpt`` holds; {} if it cannot be read."""
    row = checkpoint_value(checkpoint, "row")
    return row if isinstance(row, dict) else {}


def checkpoint_value(checkpoint: Path, key: str) -> Any:
    """A value in a checkpoint, read without its weights; None if the file cannot be read or has no such key."""
    try:
        # Mapped: the weights are not read.
        return torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True)[key]
    except Exception:  # a file of another kind can cause almost any exception
        return None
