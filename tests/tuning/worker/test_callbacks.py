import os
import resource
from contextlib import contextmanager

import pytest
import torch

from inat.config.trial import TrialConfig
from inat.errors import DiskFullError
from inat.training.checkpoint import load_checkpoint
from inat.training.fit import fit
from inat.training.resume import discard_unusable, recorder_state
from inat.tuning.worker import callbacks
from inat.tuning.worker.callbacks import ATTEMPT, Heartbeat, TrialCheckpoints
from tests.conftest import Rows


def test_best_weights_are_those_of_the_best_epoch(cnn_params, tmp_path, monkeypatch):
    monkeypatch.setattr(callbacks, "LAST_EVERY_SECONDS", 1e9)  # also on a machine that is very slow today
    metrics = fit(TrialConfig.from_params(cnn_params), [TrialCheckpoints(tmp_path / "c", None)])
    stored = torch.load(tmp_path / "c" / "best.ckpt", weights_only=True)
    assert stored["row"]["best_val_acc"] == stored["row"]["val_acc"] == metrics["best_val_acc"]
    assert load_checkpoint(tmp_path / "c" / "best.ckpt").config == TrialConfig.from_params(cnn_params)
    assert {p.name for p in (tmp_path / "c").iterdir()} == {ATTEMPT, "best.ckpt", "end.ckpt"}


def test_nothing_is_written_below_the_threshold(cnn_params, tmp_path):
    fit(TrialConfig.from_params(cnn_params | {"max_epochs": 1}), [TrialCheckpoints(tmp_path / "c", 1.0)])
    assert [p.name for p in (tmp_path / "c").iterdir()] == [ATTEMPT]


def test_an_equal_accuracy_is_enough(cnn_params, tmp_path):
    config = TrialConfig.from_params(cnn_params | {"max_epochs": 1})
    reached = fit(config)["best_val_acc"]
    fit(config, [TrialCheckpoints(tmp_path / "c", reached)])
    assert (tmp_path / "c" / "best.ckpt").exists()


def test_the_last_state_is_written_when_due_and_can_be_resumed(cnn_params, tmp_path, monkeypatch):
    monkeypatch.setattr(callbacks, "LAST_EVERY_SECONDS", 0.0)
    monkeypatch.setattr(callbacks, "LAST_SHARE", 1e9)
    config = TrialConfig.from_params(cnn_params)
    keeper = TrialCheckpoints(tmp_path / "c", None)
    last = tmp_path / "c" / "last.ckpt"
    whole = fit(config, [keeper], resume_from=last)  # not there yet
    assert last.exists()
    resumed = fit(config, resume_from=last)
    assert resumed["best_val_acc"] == whole["best_val_acc"]
    assert resumed["train_loss"] == whole["train_loss"]


def test_the_state_after_the_last_epoch_goes_on_as_the_longer_training(cnn_params, tmp_path, monkeypatch):
    monkeypatch.setattr(callbacks, "LAST_EVERY_SECONDS", 1e9)
    short, longer = (TrialConfig.from_params(cnn_params | {"max_epochs": epochs}) for epochs in (2, 4))
    fit(short, [TrialCheckpoints(tmp_path / "c", None)])
    last = (tmp_path / "c" / "end.ckpt").rename(tmp_path / "c" / "last.ckpt")
    went_on, whole = Rows(), Rows()
    metrics = fit(longer, [TrialCheckpoints(tmp_path / "c", None), went_on], resume_from=last, known_epochs=2)
    fit(longer, [whole])
    assert "note" not in metrics
    assert went_on.rows == whole.rows[2:]
    assert [row.get("finished") for row in recorder_state(tmp_path / "c" / "end.ckpt")["history"]] == [
        None, None, None, "max_epochs",
    ]  # fmt: skip


@pytest.mark.parametrize("change", [{"schedule": "cosine"}, {"max_epochs": 20, "patience": 1, "learning_rate": 0.1}])
def test_no_state_is_kept_of_a_training_that_could_not_go_on(cnn_params, tmp_path, change):
    metrics = fit(TrialConfig.from_params(cnn_params | change), [TrialCheckpoints(tmp_path / "c", None)])
    assert metrics["finished"] == ("max_epochs" if "schedule" in change else "patience")
    assert (tmp_path / "c" / "best.ckpt").exists()
    assert not (tmp_path / "c" / "end.ckpt").exists()


@contextmanager
def room_for(size: int):
    """No file of this process may be larger, as with a quota: the system then refuses in the middle of a write."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize(("name", "every"), [("best.ckpt", 1e9), ("last.ckpt", 0.0)])
def test_no_room_for_a_checkpoint_is_a_disk_full_error_and_leaves_the_old_one(
    cnn_params, tmp_path, monkeypatch, name, every
):
    monkeypatch.setattr(callbacks, "LAST_EVERY_SECONDS", every)
    monkeypatch.setattr(callbacks, "LAST_SHARE", 1e9)
    monkeypatch.setattr(callbacks, "is_weights_of", lambda *_: True)
    keeper = TrialCheckpoints(tmp_path / "c", 1.0 if name == "last.ckpt" else None)
    (tmp_path / "c" / name).write_text("old")
    config = TrialConfig.from_params(cnn_params | {"num_neurons_dense": 2048})  # 2 MB of weights
    with room_for(1_000_000), pytest.raises(DiskFullError, match=f"the disk of {tmp_path / 'c'} is full; free some"):
        fit(config, [keeper])
    assert {path.name: path.read_text() for path in (tmp_path / "c").glob("*.ckpt*")} == {name: "old"}


def test_weights_of_epochs_that_are_trained_again_are_removed(cnn_params, tmp_path, monkeypatch):
    monkeypatch.setattr(callbacks, "LAST_EVERY_SECONDS", 1e9)
    config, best = TrialConfig.from_params(cnn_params), tmp_path / "c" / "best.ckpt"
    fit(config, [TrialCheckpoints(tmp_path / "c", None)])  # no last.ckpt: a second attempt begins again
    assert best.exists()
    seen = []

    class Look(Heartbeat):
        def on_train_epoch_start(self, trainer, pl_module):
            seen.append(best.exists())

    fit(config, [TrialCheckpoints(tmp_path / "c", 1.0), Look(list)])
    assert not any(seen)


def test_a_training_goes_on_after_two_interruptions_in_a_row(cnn_params, tmp_path, monkeypatch):
    monkeypatch.setattr(callbacks, "LAST_SHARE", 1e9)
    config = TrialConfig.from_params(cnn_params | {"max_epochs": 4, "patience": 4})
    folder = tmp_path / "c"

    class StopAfter(Heartbeat):
        """Ends the process after so many more epochs."""

        def on_train_epoch_end(self, trainer, pl_module):
            self.left = getattr(self, "left", self._heartbeat()) - 1
            if self.left == 0:
                raise KeyboardInterrupt

    def attempt(epochs: int, every: float):
        monkeypatch.setattr(callbacks, "LAST_EVERY_SECONDS", every)
        keeper = TrialCheckpoints(folder, None)
        return fit(config, [keeper, StopAfter(lambda: epochs)], resume_from=folder / "last.ckpt")

    with pytest.raises((KeyboardInterrupt, SystemExit)):
        attempt(1, 0.0)
    saved = recorder_state(folder / "last.ckpt")
    assert saved["saved_epoch"] == 1
    best = torch.load(folder / "best.ckpt", weights_only=True)
    torch.save(best | {"row": best["row"] | {"epoch": 2, "best_val_acc": 1.0}}, folder / "best.ckpt")  # got further
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        attempt(1, 1e9)  # ends before a last.ckpt is due
    (folder / "best.ckpt").unlink(missing_ok=True)  # as if that epoch had been no better
    assert discard_unusable(folder / "last.ckpt", config) == ""
    assert attempt(9, 0.0)["epochs"] == 4
    assert not (folder / "ahead.ckpt").exists()


def test_the_weights_of_the_best_epoch_so_far_stay(cnn_params, tmp_path, monkeypatch):
    monkeypatch.setattr(callbacks, "LAST_EVERY_SECONDS", 0.0)
    monkeypatch.setattr(callbacks, "LAST_SHARE", 1e9)
    config, last, best = TrialConfig.from_params(cnn_params), tmp_path / "c" / "last.ckpt", tmp_path / "c" / "best.ckpt"
    fit(config, [TrialCheckpoints(tmp_path / "c", None)])
    recorder = torch.load(last, weights_only=True)["callbacks"]["EpochRecorder"]
    assert recorder["saved_epoch"] == recorder["best_epoch"]
    torch.save(torch.load(best, weights_only=True) | {"row": recorder["history"][recorder["best_epoch"] - 1]}, best)
    before = best.stat().st_mtime_ns
    fit(config, [TrialCheckpoints(tmp_path / "c", 1.0)], resume_from=last)
    assert best.stat().st_mtime_ns == before


class Watch:
    """Sizes of all files of a directory whenever one has just been written into it, before it takes its place."""

    def __init__(self, directory, monkeypatch):
        self.moments = []
        real = os.replace

        def watched(source, target):
            self.moments.append(
                {path.name.partition(".ckpt")[0] + ".ckpt": path.stat().st_size for path in directory.glob("*.ckpt*")}
            )
            real(source, target)

        monkeypatch.setattr(os, "replace", watched)


def test_the_bound_on_what_a_running_trial_has_on_the_disk(cnn_params, tmp_path, monkeypatch):
    """README: best.ckpt, last.ckpt and the one that is being written; seven times the weights."""
    monkeypatch.setattr(callbacks, "LAST_EVERY_SECONDS", 0.0)
    monkeypatch.setattr(callbacks, "LAST_SHARE", 1e9)
    config = TrialConfig.from_params(cnn_params | {"num_neurons_dense": 2048, "max_epochs": 4})
    watch, keeper = Watch(tmp_path / "c", monkeypatch), TrialCheckpoints(tmp_path / "c", None)
    fit(config, [keeper])
    state = load_checkpoint(tmp_path / "c" / "best.ckpt").classifier.state_dict()
    weights = sum(tensor.numel() * tensor.element_size() for tensor in state.values())
    assert {name for files in watch.moments for name in files} == {
        "best.ckpt", "last.ckpt", ".best.ckpt", ".last.ckpt", ".end.ckpt",
    }  # fmt: skip
    assert max(len(files) for files in watch.moments) == 3
    largest = max(sum(files.values()) for files in watch.moments)
    assert 6.5 * weights < largest < 7.1 * weights


def test_an_attempt_that_was_replaced_ends_and_leaves_the_checkpoints_alone(cnn_params, tmp_path, monkeypatch):
    monkeypatch.setattr(callbacks, "LAST_EVERY_SECONDS", 0.0)
    monkeypatch.setattr(callbacks, "LAST_SHARE", 1e9)
    cut_off, successor = TrialCheckpoints(tmp_path / "c", None), TrialCheckpoints(tmp_path / "c", None)
    config = TrialConfig.from_params(cnn_params)
    fit(config, [successor])
    files = {path.name: path.read_bytes() for path in (tmp_path / "c").iterdir()}
    with pytest.raises(SystemExit):
        fit(config, [cut_off])
    assert {path.name: path.read_bytes() for path in (tmp_path / "c").iterdir()} == files


def test_each_epoch_is_a_heartbeat(cnn_params):
    beats = []
    fit(TrialConfig.from_params(cnn_params | {"max_epochs": 2}), [Heartbeat(lambda: beats.append(1))])
    assert beats == [1, 1]


def test_newer_weights_of_a_training_on_all_images_stay_until_it_has_caught_up(cnn_params, tmp_path, monkeypatch):
    monkeypatch.setattr(callbacks, "LAST_EVERY_SECONDS", 0.0)
    monkeypatch.setattr(callbacks, "LAST_SHARE", 1e9)
    config = TrialConfig.from_params(cnn_params | {"max_epochs": 3, "train_on_val": True})
    last, best = tmp_path / "c" / "last.ckpt", tmp_path / "c" / "best.ckpt"

    class StopAfterOne(Heartbeat):
        def on_train_epoch_end(self, trainer, pl_module):
            raise SystemExit

    with pytest.raises(SystemExit):
        fit(config, [TrialCheckpoints(tmp_path / "c", None), StopAfterOne(list)])
    torch.save(
        torch.load(best, weights_only=True) | {"row": {"epoch": 3}}, best
    )  # written by an attempt that got further
    seen = []

    class Look(Heartbeat):
        def on_train_epoch_start(self, trainer, pl_module):
            seen.append(best.exists())

    fit(config, [TrialCheckpoints(tmp_path / "c", None), Look(list)], resume_from=last)
    assert seen == [True, True]
