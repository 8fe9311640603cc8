"""Lightning callbacks of a trial that runs under Tune."""

import time
from collections.abc import Collection

import pytorch_lightning as pl
from ray import tune

from inat.constants import EPOCH, EPOCHS_BEFORE, FINISHED
from inat.epochs import recorder_of

REPORT_EVERY_SECONDS = 1.0


class ReportToTune(pl.Callback):
    """Reports the epochs' rows. Tune's answer to stop the trial is a SystemExit raised inside the report.

    A report makes the trial wait for the driver, so epochs that take less than a second are reported together: when a
    second is over, where ASHA decides (``rungs``, in epochs), and at the end.
    """

    def __init__(self, rungs: Collection[int] = ()) -> None:
        self._rungs = rungs
        self._reported = time.monotonic()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # The attempt that wrote the checkpoint may have died before it could report these epochs.
        if recorder_of(trainer).unreported:
            self._report(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        row = recorder_of(trainer).row
        late = time.monotonic() - self._reported >= REPORT_EVERY_SECONDS
        if late or row[EPOCH] in self._rungs or FINISHED in row:
            self._report(trainer)

    def _report(self, trainer: pl.Trainer) -> None:
        *before, last = recorder_of(trainer).unreported
        self._reported = time.monotonic()
        recorder_of(trainer).unreported = []
        # Saying done with the last epoch spares Tune a round trip a trial.
        tune.report(last | {EPOCHS_BEFORE: before, "done": FINISHED in last})
