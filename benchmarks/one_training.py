"""One training of inat in this process: accuracies, seconds and processor seconds."""

import os
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def train(params: Mapping[str, Any], threads: int, test: bool = False) -> dict[str, Any]:
    """Train with the flat hyperparameters and settings ``params``.

    Returns "val", the best validation accuracy; "curve", that of each epoch; "seconds" and "cpu" of all epochs, without
    decoding images; "epochs" and "parameters"; with ``test`` also "test", the test accuracy of the best epoch, or of
    the last one if validation images are trained on.
    """
    import pytorch_lightning as pl
    import torch

    from inat.config.trial import TrialConfig
    from inat.data.splits import load_splits
    from inat.training.checkpoint import portable_checkpoint
    from inat.training.epoch_recorder import recorder_of
    from inat.training.evaluation import evaluate
    from inat.training.fit import fit

    class Keep(pl.Callback):
        def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            recorder = recorder_of(trainer)
            curve.append(recorder.row["val_acc"])
            if test and recorder.improved:
                torch.save(portable_checkpoint(trainer), path)

    torch.set_num_threads(threads)
    curve: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "best.ckpt"
        config = TrialConfig.from_params(params)
        load_splits(config.data)  # decodes the images before the clock starts
        started, processor = time.monotonic(), time.process_time()
        last = fit(config, [Keep()])
        row = {"val": last["best_val_acc"], "curve": curve, "seconds": time.monotonic() - started,
               "cpu": time.process_time() - processor, "epochs": last["epochs"],
               "parameters": last["trainable_parameters"]}  # fmt: skip
        return row | ({"test": evaluate(path, "test")["test_acc"]} if test else {})


def used_threads(threads: int) -> str:
    """How many cores a benchmark uses, as text."""
    return f"{threads} of {os.cpu_count()} threads"
