"""Lightning callbacks of a trial that runs under Tune: reports and checkpoints."""

import json
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytorch_lightning as pl
import torch
from ray import tune

from inat.constants import (
    AHEAD_CKPT,
    ANSWERS_JSON,
    BEST_CKPT,
    END_CKPT,
    EPOCH,
    EPOCHS_BEFORE,
    FINISHED,
    LAST_CKPT,
    MAX_EPOCHS_REACHED,
    PREPARATION,
)
from inat.models.own_training import OwnTraining
from inat.study.atomic_io import atomic_replace, atomic_write
from inat.study.folds import ends_fold
from inat.training.checkpoint import portable_checkpoint
from inat.training.epoch_recorder import EpochRecorder, recorder_of
from inat.training.resume import is_weights_of
from inat.training.validation_answers import ValidationAnswers

REPORT_EVERY_SECONDS = 1.0
LAST_EVERY_SECONDS = 1.0  # the most work that a crash costs a trial, beside the epoch in progress
LAST_SHARE = 0.02  # of a trial's time that may go into writing last.ckpt
ATTEMPT = ".attempt"  # the file that names the attempt which may write


class ReportToTune(pl.Callback):
    """Reports the rows of epochs to Tune. To stop a trial, Tune raises SystemExit inside the report.

    The trial waits for the driver during a report, so epochs shorter than a second are reported in groups. A report is
    sent after a second, at each of ASHA's ``rungs`` (epochs), at the end of each fold, and after the last epoch.

    The first report of a resumed training has the rows of its checkpoint beyond ``known_epochs``, the number of epochs
    whose rows the study has: the attempt that wrote the checkpoint may have died before it reported them, and a power
    cut may have taken the last lines of the journal. So the journal has all epochs of a checkpoint before training goes
    on from it.
    """

    def __init__(self, rungs: Collection[int] = (), known_epochs: int = 0) -> None:
        self._rungs = rungs
        self._known_epochs = known_epochs
        self._last_report = time.monotonic()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        recorder = recorder_of(trainer)
        rows = [row for row in recorder.history if row[EPOCH] > self._known_epochs or row in recorder.unreported]
        recorder.unreported = []
        for row in rows:
            recorder.unreported.append(row)
            if self._is_rung(row) or row is rows[-1]:  # as when the epochs were trained
                self._report(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        row = recorder_of(trainer).row
        due = time.monotonic() - self._last_report >= REPORT_EVERY_SECONDS
        if due or self._is_rung(row) or FINISHED in row:
            self._report(trainer)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if recorder_of(trainer).unreported:  # a callback of the user has ended the training
            self._report(trainer)
        # The training of the next fold begins with these rows in its history.
        self._known_epochs = max(self._known_epochs, recorder_of(trainer).row.get(EPOCH, 0))

    def _is_rung(self, row: Mapping[str, Any]) -> bool:
        return row[EPOCH] in self._rungs or ends_fold(row)

    def _report(self, trainer: pl.Trainer) -> None:
        *before, last = recorder_of(trainer).unreported
        self._last_report = time.monotonic()
        recorder_of(trainer).unreported = []
        # "done" with the last epoch saves Tune a round trip for each trial.
        tune.report(last | {EPOCHS_BEFORE: before, "done": FINISHED in last})


class PreparationTime(pl.Callback):
    """Adds to the row of the first epoch of each training how long the trial took before it, as PREPARATION.

    In this time images are decoded, and features of frozen stages computed or waited for. It comes before the callbacks
    that write checkpoints and reports.
    """

    def __init__(self) -> None:
        self._since = time.monotonic()
        self._seconds: float | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._seconds = time.monotonic() - self._since

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self._seconds is not None:
            recorder_of(trainer).row[PREPARATION] = round(self._seconds, 3)
            self._seconds = None

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._since = time.monotonic()  # of the next fold


class Heartbeat(pl.Callback):
    """Calls ``heartbeat`` at the end of each epoch."""

    def __init__(self, heartbeat: Callable[[], object]) -> None:
        self._heartbeat = heartbeat

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._heartbeat()


class TrialCheckpoints(pl.Callback):
    """Writes the checkpoints of a trial into ``directory``.

    ``best.ckpt`` holds the weights. It is written when the trial beats its own best and reaches ``threshold``, the
    value of the objective of the study's best k trials (None: any). ``last.ckpt`` holds all that resuming needs. It is
    written every LAST_EVERY_SECONDS at most, and less often where writing is slow (LAST_SHARE). ``end.ckpt`` holds the
    same after the last epoch, of a trial with a best.ckpt that could train longer. ``answers.json`` has
    the ``answers`` of all epochs and stands beside each best.ckpt, whose own epoch it has as well. It is not worth
    waiting for the disk: a reader does without a file that a power cut has damaged.

    A ``best.ckpt`` that does not belong to the state from which a training goes on becomes ``ahead.ckpt``: the attempt
    that wrote it got further than its ``last.ckpt``, and the epochs in between are trained again. Until ``last.ckpt``
    is written again, ``ahead.ckpt`` says that no disk has lost the weights; then it is removed.

    An attempt on a node that was cut off keeps running while another attempt has taken its place. Each attempt leaves
    its name in ``directory``, and an attempt that finds another name there ends instead of replacing newer checkpoints.
    """

    def __init__(self, directory: Path, threshold: float | None, answers: ValidationAnswers | None = None) -> None:
        self.directory = directory
        self.threshold = threshold
        self._answers = answers
        self._last_written = time.monotonic()
        self._last_cost = 0.0
        self._attempt = uuid4().hex
        directory.mkdir(parents=True, exist_ok=True)
        for half_written in (*directory.glob(".*.ckpt*"), *directory.glob(f".{ANSWERS_JSON}*")):
            half_written.unlink(missing_ok=True)
        atomic_write(directory / ATTEMPT, self._attempt, sync=False)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        best, recorder = self.directory / BEST_CKPT, recorder_of(trainer)
        if best.exists() and not is_weights_of(best, recorder):
            self._exit_if_replaced()
            best.replace(self.directory / AHEAD_CKPT)
            (self.directory / ANSWERS_JSON).unlink(missing_ok=True)
        if not best.exists():
            recorder.saved_epoch = 0

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        recorder = recorder_of(trainer)
        reaches = recorder.config.objective.reaches
        if recorder.improved and (self.threshold is None or reaches(recorder.best_value, self.threshold)):
            with self._replace(BEST_CKPT) as partial:
                torch.save(portable_checkpoint(trainer), partial)
            recorder.saved_epoch = recorder.row[EPOCH]
        if recorder.saved_epoch and self._answers is not None and self._answers.content:
            with self._replace(ANSWERS_JSON, sync=False) as partial:
                partial.write_text(json.dumps(self._answers.content), encoding="utf-8")
        if self._could_go_on(recorder, pl_module):
            with self._replace(END_CKPT) as partial:
                trainer.save_checkpoint(partial, weights_only=False)
        since = time.monotonic() - self._last_written
        if not trainer.should_stop and since > max(LAST_EVERY_SECONDS, self._last_cost / LAST_SHARE):
            started = time.monotonic()
            with self._replace(LAST_CKPT) as partial:
                trainer.save_checkpoint(partial, weights_only=False)
            (self.directory / AHEAD_CKPT).unlink(missing_ok=True)
            self._last_written = time.monotonic()
            self._last_cost = self._last_written - started

    def _could_go_on(self, recorder: EpochRecorder, pl_module: pl.LightningModule) -> bool:
        """Whether a raised --max-epochs could go on from the state after this epoch, and the weights are kept.

        A LightningModule of the user may have a schedule that ends with the last epoch.
        """
        ends = recorder.row.get(FINISHED) == MAX_EPOCHS_REACHED and recorder.place is None
        longer = recorder.config.can_train_longer and not isinstance(pl_module, OwnTraining)
        return ends and longer and recorder.saved_epoch > 0

    @contextmanager
    def _replace(self, name: str, sync: bool = True) -> Iterator[Path]:
        self._exit_if_replaced()
        with atomic_replace(self.directory / name, sync=sync, suffix=self._attempt) as partial:
            yield partial
            self._exit_if_replaced()

    def _exit_if_replaced(self) -> None:
        # Without the file, the trial has ended and its checkpoints were removed.
        current = None
        with suppress(FileNotFoundError):
            current = (self.directory / ATTEMPT).read_text()
        if current != self._attempt:
            raise SystemExit("another attempt has taken this trial over")
