"""Lightning callbacks of a trial that runs under Tune."""

import pytorch_lightning as pl
from ray import tune

from inat.constants import FINISHED
from inat.epochs import recorder_of


class ReportToTune(pl.Callback):
    """Reports each epoch's row. Tune's answer to stop the trial is a SystemExit raised inside the report."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # The attempt that wrote the checkpoint may have died before it could report this epoch.
        if recorder_of(trainer).row:
            self._report(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._report(trainer)

    def _report(self, trainer: pl.Trainer) -> None:
        row = recorder_of(trainer).row
        # Saying done with the last epoch spares Tune a round trip a trial.
        tune.report(row | {"done": FINISHED in row})
