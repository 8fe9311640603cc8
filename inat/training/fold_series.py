"""The trainings of one trial with folds or repeats, one after the other in one process."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from inat.config.trial import TrialConfig
from inat.constants import FINISHED, FOLD
from inat.training.epoch_recorder import Place, recorder_of
from inat.training.fit import fit
from inat.training.pace import Pace
from inat.training.resume import discard_unusable, recorder_state


@dataclass(frozen=True, slots=True)
class FoldSeries:
    """The trainings of a trial, numbered from 1 on: all folds, ``repeats`` times.

    Each training has a seed of its own; the first one that of ``config``.
    """

    config: TrialConfig
    repeats: int = 1

    @property
    def count(self) -> int:
        """Number of trainings."""
        return max(1, self.config.data.folds) * self.repeats

    def config_of(self, number: int) -> TrialConfig:
        """The configuration of training ``number``."""
        data = self.config.data
        if data.folds:
            repeat, fold = divmod(number - 1, data.folds)
            data = replace(data, fold=fold, repeat=repeat)
        return replace(self.config, data=data, seed=self.config.seed + number - 1)


def fit_series(
    series: FoldSeries,
    callbacks: Sequence[pl.Callback] = (),
    *,
    resume_from: Path | None = None,
    known_epochs: int | None = None,
    heartbeat: Callable[[], None] = lambda: None,
    pace: Pace | None = None,
) -> dict[str, Any]:
    """Train all of ``series``; returns the metrics of the last epoch, whose best value is the mean.

    A single training is that of ``fit``, which describes the other arguments; only it may have a ``pace``.
    ``resume_from`` may be a checkpoint of any of the trainings. It knows the epochs of those before, so the series goes
    on inside of that training. The checkpoint of an ended training stays until the next one writes its own: a process
    that is killed in between trains the last epochs of the ended training again, with the same results.

    >>> params = {
    ...     "data": "digits", "folds": 2, "image_size": 8, "first_layer_filters": 16, "filter_org": 1, "conv_layers": 2,
    ...     "activation": "relu", "dropout": 0.2, "batch_norm": True, "num_neurons_dense": 32,
    ...     "learning_rate": 0.01, "batch_size": 64, "max_epochs": 1,
    ... }
    >>> metrics = fit_series(FoldSeries(TrialConfig.from_params(params)))
    >>> metrics["epochs"], metrics["folds_done"], metrics["best_val_acc"] > 0.5
    (2, 2, True)
    """
    if series.count == 1:
        return fit(
            series.config, callbacks, resume_from=resume_from, known_epochs=known_epochs, heartbeat=heartbeat, pace=pace
        )
    number, rows, note = _find_place(series, resume_from, known_epochs)
    history = _KeepHistory()
    while True:
        metrics = fit(
            series.config_of(number),
            [*callbacks, history],
            resume_from=resume_from,
            known_epochs=known_epochs,
            heartbeat=heartbeat,
            place=Place(number, series.count, tuple(rows)),
            note=note,
        )
        if FINISHED in metrics:
            return metrics
        number, rows, resume_from = number + 1, history.rows, None


def _find_place(
    series: FoldSeries, checkpoint: Path | None, known_epochs: int | None
) -> tuple[int, list[dict[str, Any]], str]:
    """The number of the training to go on with, the rows of those before it, and a note if that is the first again."""
    if checkpoint is None or not checkpoint.exists():
        return 1, [], ""
    state = recorder_state(checkpoint) or {}
    history: list[dict[str, Any]] = state.get("history") or [{}]
    number = min(max(1, history[-1].get(FOLD, 1)), series.count)
    if note := discard_unusable(checkpoint, series.config_of(number), known_epochs):
        return 1, [], note
    return number, [row for row in history if row[FOLD] < number], ""


class _KeepHistory(pl.Callback):
    """Keeps the rows of the training that ended last, and of those before it."""

    rows: list[dict[str, Any]]

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.rows = list(recorder_of(trainer).history)
