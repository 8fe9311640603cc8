import pytest

from inat.config.trial import TrialConfig
from inat.training.epoch_recorder import METRICS, EpochRecorder


class FakeTrainer:
    """The attributes of a trainer that the recorder reads or sets."""

    def __init__(self):
        self.callback_metrics, self.current_epoch, self.should_stop = {}, 0, False


def follow(cnn_params, losses_and_accuracies, **changes) -> tuple[EpochRecorder, FakeTrainer]:
    recorder = EpochRecorder(TrialConfig.from_params(cnn_params | {"max_epochs": 20} | changes), ["a"])
    trainer = FakeTrainer()
    for epoch, (loss, accuracy) in enumerate(losses_and_accuracies):
        trainer.current_epoch = epoch
        trainer.callback_metrics = dict.fromkeys(METRICS, 0.5) | {"train_loss": loss, "val_loss": 1.0, "val_acc": accuracy}
        recorder.on_train_epoch_start(trainer, None)
        recorder.on_train_epoch_end(trainer, None)
        if trainer.should_stop:
            break
    return recorder, trainer


def test_patience_counts_from_the_best_epoch(cnn_params):
    recorder, trainer = follow(cnn_params, [(1.0, 0.3), (1.0, 0.5)] + [(1.0, 0.4)] * 10, patience=3)
    assert (recorder.epoch, recorder.best_epoch, recorder.best_value) == (5, 2, 0.5)
    assert recorder.row["finished"] == "patience"
    assert trainer.should_stop


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_diverged_training_ends_at_once_with_a_finite_accuracy(cnn_params, loss):
    recorder, _ = follow(cnn_params, [(1.0, 0.3), (loss, 0.1), (1.0, 0.9)])
    assert (recorder.epoch, recorder.best_value) == (2, 0.3)
    assert recorder.row["finished"] == "diverged"


def test_a_training_may_end_before_the_last_epoch_of_its_schedule(cnn_params):
    recorder, _ = follow(cnn_params, [(1.0, 0.3 + epoch / 100) for epoch in range(10)], stop_epoch=4)
    assert recorder.epoch == 4
    assert recorder.row["finished"] == "max_epochs"


def test_a_training_on_the_validation_images_runs_to_its_last_epoch_and_keeps_it(cnn_params):
    kept = []
    for epochs in range(1, 7):
        recorder, _ = follow(cnn_params, [(1.0, 0.5)] * epochs, train_on_val=True, stop_epoch=6, patience=1)
        kept.append((recorder.epoch, recorder.improved, recorder.row.get("finished")))
    assert kept == [(epoch, True, None) for epoch in range(1, 6)] + [(6, True, "max_epochs")]
