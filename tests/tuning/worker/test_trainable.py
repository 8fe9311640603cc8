"""What a worker does with one trial, in this process: Tune's report is replaced, all else is real."""

import atexit
import gc
import time
import warnings
import weakref
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from ray import tune
from torch import nn
from torch._subclasses import FakeTensor

from inat.device import kind
from inat.errors import ConfigError
from inat.models import frozen_features
from inat.models.classifier import Classifier
from inat.training import fit as fit_module
from inat.training import memory, precision_choice
from inat.training.resume import checkpoint_row
from inat.tuning.ray_backend import session
from inat.tuning.ray_backend.hang_monitor import Watchdog
from inat.tuning.worker import callbacks, trainable
from inat.tuning.worker.own_callbacks import dump


class TuneDouble:
    """Keeps reports; stops the trial at an epoch as Tune does, by SystemExit out of the report."""

    def __init__(self, stop_at: int | None = None):
        self.rows, self.reports, self.stop_at = [], [], stop_at

    def report(self, row):
        self.reports.append(row["epoch"])
        self.rows += [*row["epochs_before"], row]
        if row["epoch"] == self.stop_at:
            raise SystemExit

    @property
    def epochs(self):
        return [row["epoch"] for row in self.rows]


@pytest.fixture
def trial(cnn_params, tmp_path, monkeypatch):
    # A slow machine must not add reports or checkpoints; tests that want them by the clock set their own times.
    monkeypatch.setattr(callbacks, "REPORT_EVERY_SECONDS", 1e9)
    monkeypatch.setattr(callbacks, "LAST_EVERY_SECONDS", 1e9)

    def run(stop_at=None, model=cnn_params, gpus=0.0, own_callbacks=b"", **changes) -> TuneDouble:
        double = TuneDouble(stop_at)
        monkeypatch.setattr(tune, "report", double.report)
        monkeypatch.setattr(trainable, "_resources", lambda: {"CPU": 1.0, "GPU": gpus})
        monkeypatch.setattr(session, "this_node_id", lambda: "here")
        settings = {
            "trial_id": "t0007",
            "study_dir": str(tmp_path),
            "threshold": None,
            "trial_timeout": None,
            "rungs": [],
            "known_epochs": 0,
            "weights_sha256": {},
            "driver_node": "here",
        }
        trainable.run_trial(model | settings | changes, own_callbacks)
        return double

    return run


def test_reports_every_epoch_and_that_it_is_done_with_the_last(trial, tmp_path):
    double = trial()
    assert double.epochs == [1, 2, 3]
    assert [row.get("done") for row in double.rows] == [None, None, True]
    assert double.rows[-1]["finished"] == "max_epochs"
    assert {"train_loss", "train_acc", "val_loss", "val_acc", "best_val_acc", "seconds"} <= double.rows[0].keys()
    assert (tmp_path / "checkpoints" / "t0007" / "best.ckpt").exists()


def test_a_trial_of_equal_cost_has_its_own_length(trial):
    double = trial(length={"max_epochs": 5, "patience": 5, "rungs": [2]})
    assert double.reports == [2, 5]
    assert double.rows[-1]["finished"] == "max_epochs"


class StopAtTwo(pl.Callback):
    def on_train_epoch_end(self, trainer, pl_module):
        trainer.should_stop = trainer.current_epoch == 1 and trainer.callback_metrics["val_acc"] >= 0


def test_a_callback_of_the_user_sees_the_scores_and_may_end_the_trial(trial):
    double = trial(own_callbacks=dump([StopAtTwo()]))
    assert double.epochs == [1, 2]
    assert "finished" not in double.rows[-1]


def test_the_first_epoch_of_each_training_has_the_seconds_before_it(trial, monkeypatch):
    prepare = fit_module.prepare_inputs
    monkeypatch.setattr(fit_module, "prepare_inputs", lambda *args: (time.sleep(0.2), prepare(*args))[1])
    rows = trial(folds=3, max_epochs=2).rows
    assert [row["epoch"] for row in rows if "preparation_seconds" in row] == [1, 3, 5]
    assert all(row["preparation_seconds"] >= 0.2 for row in rows[::2])


def test_short_epochs_are_reported_together_but_no_later_than_a_rung_or_a_second(trial, monkeypatch):
    assert trial(rungs=[2], max_epochs=5).reports == [2, 5]
    monkeypatch.setattr(callbacks, "REPORT_EVERY_SECONDS", 0.0)
    assert trial().reports == [1, 2, 3]


def test_epochs_that_were_not_reported_when_the_process_died_are_reported_by_the_next_attempt(trial, monkeypatch):
    monkeypatch.setattr(callbacks, "LAST_EVERY_SECONDS", 0.0)
    monkeypatch.setattr(callbacks, "LAST_SHARE", 1e9)
    with pytest.raises(SystemExit):
        trial(rungs=[3], stop_at=3, max_epochs=4)
    # The checkpoint was written before the report: the process may have died between the two.
    second = trial(rungs=[3], max_epochs=4)
    assert second.reports == [3, 4]
    assert second.epochs == [1, 2, 3, 4]


def test_a_second_attempt_goes_on_from_the_checkpoint_and_repeats_its_row(trial, monkeypatch):
    whole = trial().rows
    monkeypatch.setattr(callbacks, "LAST_EVERY_SECONDS", 0.0)
    monkeypatch.setattr(callbacks, "LAST_SHARE", 1e9)
    with pytest.raises(SystemExit):
        trial(stop_at=2, rungs=[1, 2])
    second = trial(known_epochs=2)
    # The row of the checkpoint comes again: its first report may have been lost with the process.
    assert second.epochs == [2, 3]
    assert [row["train_loss"] for row in second.rows] == [row["train_loss"] for row in whole[1:]]


@pytest.mark.parametrize(("known_epochs", "reports", "epochs"), [
    (0, [1, 3, 4, 5], [1, 2, 3, 4, 5]), (1, [3, 4, 5], [2, 3, 4, 5]), (3, [4, 5], [4, 5]),
])  # fmt: skip
def test_rows_that_the_journal_lost_are_reported_again_up_to_each_rung(
    trial, monkeypatch, known_epochs, reports, epochs
):
    monkeypatch.setattr(callbacks, "LAST_EVERY_SECONDS", 0.0)
    monkeypatch.setattr(callbacks, "LAST_SHARE", 1e9)
    with pytest.raises(SystemExit):
        trial(rungs=[1, 3, 4], stop_at=4, max_epochs=5)
    second = trial(rungs=[1, 3], known_epochs=known_epochs, max_epochs=5)
    assert second.reports == reports
    assert second.epochs == epochs


def test_asha_may_stop_a_trial_at_a_rung_that_the_journal_lost(trial, monkeypatch):
    monkeypatch.setattr(callbacks, "LAST_EVERY_SECONDS", 0.0)
    monkeypatch.setattr(callbacks, "LAST_SHARE", 1e9)
    with pytest.raises(SystemExit):
        trial(rungs=[2, 4], stop_at=4, max_epochs=5)
    with pytest.raises(SystemExit):
        trial(rungs=[2], stop_at=2, max_epochs=5)
    assert trial(rungs=[2, 4], max_epochs=5).reports == [2, 4, 5]


def test_a_trial_does_not_go_on_from_the_checkpoint_of_another_configuration(trial, monkeypatch, tmp_path):
    fresh = trial(dropout=0.5, study_dir=str(tmp_path / "fresh")).rows
    monkeypatch.setattr(callbacks, "LAST_EVERY_SECONDS", 0.0)
    monkeypatch.setattr(callbacks, "LAST_SHARE", 1e9)
    with pytest.raises(SystemExit):
        trial(stop_at=2, rungs=[2])  # its journal line is lost, and the number t0007 is given again
    second = trial(dropout=0.5)
    assert second.epochs == [1, 2, 3]
    assert [row["train_loss"] for row in second.rows] == [row["train_loss"] for row in fresh]


def without_times(rows: list[dict]) -> list[dict]:
    times = ("seconds", "preparation_seconds", "done", "epochs_before")
    return [{k: v for k, v in row.items() if k not in times} for row in rows]


@pytest.fixture(scope="module")
def uninterrupted() -> dict[str, Any]:
    """The rows of a trial with folds and the epoch of its best.ckpt, which the first test that needs them finds."""
    return {}


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("stop_at", [2, 3, 5, 6, 8])
def test_a_worker_killed_in_any_fold_goes_on_there_and_the_history_has_no_gap(
    trial, monkeypatch, tmp_path, uninterrupted, stop_at
):
    folds = {"folds": 3, "max_epochs": 3, "rungs": [2], "study_dir": str(tmp_path / "killed")}

    def kept(name: str) -> int:
        return checkpoint_row(tmp_path / name / "checkpoints/t0007/best.ckpt")["epoch"]

    if not uninterrupted:
        uninterrupted["rows"] = without_times(trial(**folds | {"study_dir": str(tmp_path / "whole")}).rows)
        uninterrupted["kept"] = kept("whole")
    whole = uninterrupted["rows"]
    assert [row["epoch"] for row in whole] == list(range(1, 10))
    monkeypatch.setattr(callbacks, "LAST_EVERY_SECONDS", 0.0)
    monkeypatch.setattr(callbacks, "LAST_SHARE", 1e9)
    monkeypatch.setattr(callbacks, "REPORT_EVERY_SECONDS", 0.0)
    with pytest.raises(SystemExit):
        trial(stop_at=stop_at, **folds)
    second = without_times(trial(known_epochs=stop_at - 1, **folds).rows)
    assert [row["epoch"] for row in second] == list(range(second[0]["epoch"], 10))
    assert second[0]["epoch"] <= stop_at
    assert second == whole[second[0]["epoch"] - 1 :]
    # What the journal has lost in a power cut comes from the checkpoint, also that of earlier folds.
    with pytest.raises(SystemExit):
        trial(stop_at=stop_at, **folds | {"study_dir": str(tmp_path / "cut")})
    third = without_times(trial(**folds | {"study_dir": str(tmp_path / "cut")}).rows)
    assert third == whole
    assert uninterrupted["kept"] == kept("killed") == kept("cut")


def test_a_trial_with_folds_reports_at_the_rungs_of_the_first_and_at_the_end_of_each(trial):
    assert trial(folds=3, max_epochs=3, rungs=[2]).reports == [2, 3, 6, 9]
    assert trial(repeats=2, max_epochs=2).reports == [2, 4]


def test_a_trial_gets_the_hash_of_its_own_backbones_weights(trial, backbone_params, monkeypatch, tmp_path):
    from inat.training import fold_series

    seen = []
    monkeypatch.setattr(fold_series, "fit", lambda config, *args, **kwargs: seen.append(config.model.weights_sha256))
    monkeypatch.setattr(trainable, "_resources", dict)
    monkeypatch.setattr(session, "this_node_id", lambda: "here")
    own = {"trial_id": "t0000", "study_dir": str(tmp_path), "threshold": None, "trial_timeout": None, "rungs": []}
    own |= {"known_epochs": 0, "driver_node": "here"}
    trainable.run_trial(backbone_params | own | {"weights_sha256": {"mobilenet_v2": "abc", "vgg16": "def"}})
    assert seen == ["abc"]


def test_building_features_is_progress_for_the_watchdog(trial, backbone_params, monkeypatch):
    beats = []
    monkeypatch.setattr(frozen_features, "BATCH_SIZE", 4)  # 32 and 8 photos: 10 batches
    monkeypatch.setattr(Watchdog, "heartbeat", lambda self: beats.append(self))
    trial(model=backbone_params, trial_timeout=60.0, max_epochs=1)
    assert len(beats) == 1 + 10 + 1  # at the start, while features are built, after the epoch
    trial(model=backbone_params, trial_timeout=60.0, max_epochs=1)
    assert len(beats) == 12 + 2


def test_wrong_hyperparameters_name_themselves(trial):
    from inat.errors import ConfigError

    with pytest.raises(ConfigError, match="unknown hyperparameter 'widht'"):
        trial(widht=3)


def test_a_stopped_trial_leaves_no_network_behind(trial):
    from inat.models.classifier import Classifier

    alive = weakref.WeakSet()
    real = Classifier.__init__

    def remember(self, *args):
        real(self, *args)
        alive.add(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Classifier, "__init__", remember)
        at_clean_up = []
        patch.setattr(memory, "release_freed_memory", lambda: at_clean_up.append(len(alive)))
        with pytest.raises(SystemExit):
            trial(stop_at=2, rungs=[2])
    assert at_clean_up == [0]


def test_a_trial_records_the_precision_that_was_chosen_for_its_network(trial, tmp_path, monkeypatch, cnn_params):
    monkeypatch.delenv(precision_choice.SWITCH, raising=False)
    monkeypatch.setattr(precision_choice, "resolve_precision", lambda precision: "bf16-mixed")
    monkeypatch.setattr(precision_choice, "measure_ratio", lambda *_: 2.0)
    model = cnn_params | {"precision": "auto", "max_epochs": 1, "cache_dir": str(tmp_path / "cache")}
    trial(model=model, precision_rule="measured", feature_rules=2)
    stored = torch.load(tmp_path / "checkpoints" / "t0007" / "best.ckpt", weights_only=True)
    assert stored["trial_params"]["precision"] == "32-true"
    # Another trial of the study takes the choice; a trial of an earlier study keeps the hardware's.
    monkeypatch.setattr(precision_choice, "measure_ratio", lambda *_: pytest.fail("measured again"))
    trial(model=model | {"learning_rate": 0.1}, precision_rule="measured", trial_id="t0008")
    trial(model=model, trial_id="t0009")
    stored = torch.load(tmp_path / "checkpoints" / "t0009" / "best.ckpt", weights_only=True)
    assert stored["trial_params"]["precision"] == "auto"


SMALL = {"image_size": 8, "max_epochs": 1, "first_layer_filters": 4}
KINDS = (
    {},
    {"ema_decay": 0.9, "use_augmentation": True, "precision": "bf16-mixed"},
    {"accumulate": 2, "batch_size": 32, "grad_clip": 1.0},
    {"mixup_alpha": 0.2, "block": "residual", "pooling": "average", "schedule": "cosine"},
)  # fmt: skip


def out_of_order(*_):
    raise ValueError("a bug")


def one_trial_of_each_kind(trial, monkeypatch) -> None:
    for options in KINDS:
        trial(**SMALL, **options)
    with pytest.raises(SystemExit):
        trial(stop_at=1, rungs=[1], **SMALL)
    with monkeypatch.context() as patched:
        patched.setattr(Classifier, "training_step", out_of_order)
        with pytest.raises(ValueError, match="a bug"):
            trial(**SMALL)


def left_behind() -> dict[str, int]:
    """What a process holds between two trials: tensors and their bytes, modules, hooks, and what runs at its end."""
    held = [thing for thing in gc.get_objects() if isinstance(thing, torch.Tensor | nn.Module)]
    # Other tests compile networks: torch keeps tensors of theirs that have no size.
    tensors = [thing for thing in held if isinstance(thing, torch.Tensor) and not isinstance(thing, FakeTensor)]
    return {
        "tensors": len(tensors),
        "bytes": sum(tensor.nbytes for tensor in tensors),
        "modules": sum(isinstance(thing, nn.Module) for thing in held),
        "hooks": sum(len(getattr(torch.nn.modules.module, name)) for name in GLOBAL_HOOKS),
        "filters": len(warnings.filters),
        "at exit": atexit._ncallbacks(),
    }


GLOBAL_HOOKS = [
    name for name in vars(torch.nn.modules.module) if name.startswith("_global_") and name.endswith("hooks")
]


def test_a_process_holds_as_much_after_many_trials_as_after_the_first_ones(trial, monkeypatch):
    """Also after trials that Tune stopped and trials that failed."""
    one_trial_of_each_kind(trial, monkeypatch)
    first = left_behind()
    one_trial_of_each_kind(trial, monkeypatch)
    one_trial_of_each_kind(trial, monkeypatch)
    assert left_behind() == first


def test_a_trial_without_a_share_of_a_gpu_trains_on_the_cpu_although_it_sees_one(
    trial, backbone_params, see_gpu, monkeypatch
):
    places = []
    fit_on = fit_module._fit
    monkeypatch.setattr(fit_module, "_fit", lambda *args: (places.append(kind()), fit_on(*args))[1])
    frozen = backbone_params | {"strategy": "freeze_all", "precision": "auto", "views": 1}
    assert trial(model=frozen, precision_rule="measured").epochs
    assert trial(model=frozen).epochs
    assert places == ["cpu", "cpu"]
    assert kind() == "cuda"  # the share was that of the trial


def test_a_trial_with_a_gpu_that_torch_cannot_use_says_so_instead_of_training_on_the_cpu(trial, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match=r"^torch .* cannot use the GPU of this machine.*or pass --gpus-per-trial 0"):
        trial(gpus=0.5)
