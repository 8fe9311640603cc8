import pytest

from inat.config.trial import TrialConfig
from inat.training.epoch_recorder import METRICS, EpochRecorder, identity_of


class FakeTrainer:
    """The attributes of a trainer that the recorder reads or sets."""

    def __init__(self):
        self.callback_metrics, self.current_epoch, self.should_stop = {}, 0, False


def follow(cnn_params, losses_and_accuracies, **changes) -> tuple[EpochRecorder, FakeTrainer]:
    recorder = EpochRecorder(TrialConfig.from_params(cnn_params | {"max_epochs": 20} | changes), ["a"])
    trainer = FakeTrainer()
    for epoch, (loss, accuracy) in enumerate(losses_and_accuracies):
        trainer.current_epoch = epoch
        trainer.callback_metrics = dict.fromkeys(METRICS, 0.5) | {
            "train_loss": loss,
            "val_loss": 1.0,
            "val_acc": accuracy,
        }
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


def follow_losses(cnn_params, losses, **changes) -> tuple[EpochRecorder, FakeTrainer]:
    recorder = EpochRecorder(
        TrialConfig.from_params(cnn_params | {"max_epochs": 20, "metric": "val_loss"} | changes), ["a"]
    )
    trainer = FakeTrainer()
    for epoch, loss in enumerate(losses):
        trainer.current_epoch = epoch
        trainer.callback_metrics = dict.fromkeys(METRICS, 0.5) | {"val_loss": loss, "val_acc": epoch / 20}
        recorder.on_train_epoch_start(trainer, None)
        recorder.on_train_epoch_end(trainer, None)
        if trainer.should_stop:
            break
    return recorder, trainer


def test_a_lower_loss_is_better_and_patience_counts_from_the_lowest(cnn_params):
    recorder, _ = follow_losses(cnn_params, [9.0, 2.0, 2.5, 2.5, 2.5, 1.0], patience=3)
    assert (recorder.epoch, recorder.best_epoch, recorder.best_value) == (5, 2, 2.0)
    assert recorder.row["finished"] == "patience"
    assert [row["best_val_loss"] for row in recorder.history] == [9.0, 2.0, 2.0, 2.0, 2.0]
    assert "best_val_acc" not in recorder.row


def test_a_loss_that_is_not_finite_is_not_the_best(cnn_params):
    recorder, _ = follow_losses(cnn_params, [2.0, float("nan")])
    assert (recorder.best_epoch, recorder.best_value, recorder.row["finished"]) == (1, 2.0, "diverged")


def test_the_row_has_all_metrics_whatever_the_objective(cnn_params):
    recorder, _ = follow(cnn_params, [(1.0, 0.3)])
    assert list(recorder.row)[:9] == [
        "epoch", "best_val_acc", "train_loss", "train_acc", "val_loss", "val_acc", "val_balanced_acc", "val_macro_f1",
        "val_top2_acc",
    ]  # fmt: skip


def test_a_checkpoint_of_an_earlier_version_is_gone_on_from(cnn_params):
    config = TrialConfig.from_params(cnn_params)
    assert not {"metric", "class_weights", "balanced_sampler"} & identity_of(config).keys()
    changed = TrialConfig.from_params(cnn_params | {"metric": "macro_f1", "class_weights": "balanced"})
    assert identity_of(changed).items() - identity_of(config).items() == {
        ("metric", "macro_f1"), ("class_weights", "balanced"),
    }  # fmt: skip
    recorder, _ = follow(cnn_params, [(1.0, 0.3), (1.0, 0.2)])
    state = recorder.state_dict()
    state["best_val_acc"] = state.pop("best_value")  # as earlier versions named it
    resumed = EpochRecorder(config, ["a"])
    resumed.load_state_dict(state)
    assert (resumed.best_value, resumed.best_epoch, resumed.epoch) == (0.3, 1, 2)


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
