import struct

from inat.tuning.loggers.tensorboard_logger import TensorboardLogger
from tests.helpers import run_epochs


def records(path) -> list[bytes]:
    """The records of an event file: length, checksum, data, checksum."""
    content, found = path.read_bytes(), []
    while content:
        (length,) = struct.unpack("<Q", content[:8])
        found.append(content[12 : 12 + length])
        content = content[16 + length :]
    return found


def test_one_run_a_trial_with_the_names_of_the_history(study):
    with TensorboardLogger(study) as tracker:
        for number in range(2):
            trial = study.add_trial({"activation": "relu", "dropout": 0.1 * number})
            for epoch in (1, 2):
                row = {"epoch": epoch, "best_val_acc": 0.5, "val_acc": 0.5, "train_loss": 1.0, "note": "said"}
                study.add_epoch(trial.trial_id, row)
                tracker(trial)
            study.end_trial(trial.trial_id, "completed")
            tracker(trial)
    assert tracker.error is None
    runs = sorted((study.directory / "tensorboard").iterdir())
    assert [run.name for run in runs] == ["t0000-relu-d0", "t0001-relu-d0.1"]
    for run in runs:
        (events,) = run.iterdir()
        for name in (b"val_acc", b"train_loss", b"best_val_acc"):
            assert sum(name in record for record in records(events)) >= 2
        assert not any(b"finished" in record or b"note" in record for record in records(events))


def test_a_trial_that_ends_without_an_epoch_writes_nothing(study):
    with TensorboardLogger(study) as tracker:
        trial = study.add_trial({"activation": "relu"})
        study.end_trial(trial.trial_id, "failed", "boom")
        tracker(trial)
        other = study.add_trial({"activation": "mish"})
        run_epochs(study, other.trial_id, [0.5])
        tracker(other)  # left running: closed with the tracker
    assert tracker.error is None
    assert [run.name for run in (study.directory / "tensorboard").iterdir()] == ["t0001-mish"]


def test_the_value_of_a_hyperparameter_cannot_lead_out_of_the_folder(study):
    with TensorboardLogger(study) as tracker:
        trial = study.add_trial({"x": "../../../outside/" + "a" * 300})
        run_epochs(study, trial.trial_id, [0.5])
        tracker(trial)
    assert tracker.error is None
    (run,) = (study.directory / "tensorboard").iterdir()
    assert run.name.startswith("t0000-x=.._.._.._outside_aaa")
