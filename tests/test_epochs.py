import pytest

from inat.config import TrialConfig
from inat.epochs import EpochRecorder


class FakeTrainer:
    """The three things the recorder looks at."""

    def __init__(self):
        self.callback_metrics, self.current_epoch, self.should_stop = {}, 0, False


def follow(cnn_params, losses_and_accuracies, **changes) -> tuple[EpochRecorder, FakeTrainer]:
    recorder = EpochRecorder(TrialConfig.from_params(cnn_params | {"max_epochs": 20} | changes), ["a"])
    trainer = FakeTrainer()
    for epoch, (loss, accuracy) in enumerate(losses_and_accuracies):
        trainer.current_epoch = epoch
        trainer.callback_metrics = {"train_loss": loss, "train_acc": 0.5, "val_loss": 1.0, "val_acc": accuracy}
        recorder.on_train_epoch_start(trainer, None)
        recorder.on_train_epoch_end(trainer, None)
        if trainer.should_stop:
            break
    return recorder, trainer


def test_patience_counts_from_the_best_epoch(cnn_params):
    recorder, trainer = follow(cnn_params, [(1.0, 0.3), (1.0, 0.5)] + [(1.0, 0.4)] * 10, patience=3)
    assert (recorder.epoch, recorder.best_epoch, recorder.best_val_acc) == (5, 2, 0.5)
    assert recorder.row["finished"] == "patience"
    assert trainer.should_stop


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_diverged_training_ends_at_once_with_a_legal_value(cnn_params, loss):
    recorder, _ = follow(cnn_params, [(1.0, 0.3), (loss, 0.1), (1.0, 0.9)])
    assert (recorder.epoch, recorder.best_val_acc) == (2, 0.3)
    assert recorder.row["finished"] == "diverged"
