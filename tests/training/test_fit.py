import os
import shutil
import signal
import zipfile

import pytest
import torch
from pytorch_lightning.plugins.precision import MixedPrecision
from torch import nn

from inat.config.trial import TrialConfig
from inat.models import factory
from inat.models.classifier import Classifier
from inat.training.evaluation import evaluate
from inat.training.fit import fit, trainer_for
from inat.training.memory import LITTLE_FREE, is_out_of_memory_text
from inat.training.retries import CHECKPOINTED
from inat.tuning.space.scratch_recipe import scratch_recipe
from tests.conftest import Rows


def test_fit_learns_the_digits_and_returns_why_it_ended(cnn_params):
    metrics = fit(TrialConfig.from_params(cnn_params | {"max_epochs": 4}))
    assert metrics["best_val_acc"] > 0.8
    assert metrics["epochs"] == metrics["epoch"] == 4
    assert metrics["finished"] == "max_epochs"
    assert metrics["seconds"] > 0


def test_the_same_seed_gives_the_same_rows_and_another_seed_others(cnn_params):
    def rows(seed: int):
        keeper = Rows()
        fit(TrialConfig.from_params(cnn_params | {"seed": seed, "max_epochs": 2}), [keeper])
        return keeper.rows

    assert rows(1) == rows(1)
    assert rows(1) != rows(2)


@pytest.mark.parametrize("augment", [False, True])
def test_a_resumed_training_repeats_the_uninterrupted_one_bit_by_bit(cnn_params, tmp_path, augment):
    # The learning rate steps at epoch 2, so an error by one epoch would show.
    params = cnn_params | {"max_epochs": 4, "lr_step_epochs": 2, "use_augmentation": augment}
    config = TrialConfig.from_params(params)
    whole = Rows()
    fit(config, [whole])
    killed = Rows(stop_after=2, save_to=tmp_path / "last.ckpt")
    with pytest.raises(SystemExit):
        fit(config, [killed])
    resumed = Rows()
    fit(config, [resumed], resume_from=tmp_path / "last.ckpt")
    assert killed.rows + resumed.rows == whole.rows


MODERN = {
    "block": "residual", "pooling": "average", "schedule": "cosine", "warmup_share": 0.3, "weight_decay": 0.05,
    "label_smoothing": 0.1, "mixup_alpha": 0.2, "cutmix_alpha": 1.0, "random_erasing": 0.25, "ema_decay": 0.9,
    "use_augmentation": True, "light_augmentation": True,
}  # fmt: skip


def test_a_modern_network_learns_the_digits(cnn_params):
    params = cnn_params | {"block": "residual", "pooling": "maximum", "schedule": "cosine", "weight_decay": 0.05}
    params |= {"ema_decay": 0.9, "label_smoothing": 0.1, "learning_rate": 1e-2, "first_layer_filters": 32}
    assert fit(TrialConfig.from_params(params))["best_val_acc"] > 0.8


RECIPE = scratch_recipe(image_size=16, images=1150, classes=10, epochs=4) | {
    "data": "digits", "image_size": 16, "width": 8, "stem_filters": 8,
}  # fmt: skip


def test_a_small_residual_network_learns_the_digits_fast(one_thread):
    """In float32 and with one thread: other rounding changes the result by some points."""
    assert fit(TrialConfig.from_params(RECIPE | {"max_epochs": 4, "precision": "32-true"}))["best_val_acc"] > 0.8


@pytest.mark.parametrize(("recipe", "stop_after"), [(False, 1), (False, 3), (True, 1)])
def test_a_resumed_modern_training_repeats_the_uninterrupted_one_bit_by_bit(cnn_params, tmp_path, recipe, stop_after):
    """Including the average of the weights, the schedule and the random numbers of mixed batches."""
    params = RECIPE | {"max_epochs": 3} if recipe else cnn_params | MODERN | {"max_epochs": 4}
    config = TrialConfig.from_params(params)
    whole = Rows(weights=tmp_path / "whole.ckpt")
    fit(config, [whole])
    killed = Rows(stop_after=stop_after, save_to=tmp_path / "last.ckpt", weights=tmp_path / "best.ckpt")
    with pytest.raises(SystemExit):
        fit(config, [killed])
    resumed = Rows(weights=tmp_path / "best.ckpt")
    fit(config, [resumed], resume_from=tmp_path / "last.ckpt")
    assert killed.rows + resumed.rows == whole.rows
    states = [torch.load(tmp_path / name, weights_only=True)["state_dict"] for name in ("whole.ckpt", "best.ckpt")]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(tensor, states[1][key]) for key, tensor in states[0].items())


def test_the_checkpoint_of_a_modern_training_has_the_scores_of_its_validation(cnn_params, tmp_path):
    keeper = Rows(weights=tmp_path / "best.ckpt")
    fit(TrialConfig.from_params(cnn_params | MODERN | {"max_epochs": 2}), [keeper])
    best = max(keeper.rows, key=lambda row: row["val_acc"])
    scores = evaluate(tmp_path / "best.ckpt", "val")
    assert scores["val_acc"] == pytest.approx(best["val_acc"], abs=1e-6)
    assert scores["val_loss"] == pytest.approx(best["val_loss"], rel=1e-4)


def test_each_setting_changes_the_training(cnn_params):
    def rows(**changes):
        keeper = Rows()
        fit(TrialConfig.from_params(cnn_params | {"max_epochs": 1, "use_augmentation": True} | changes), [keeper])
        return tuple(sorted(keeper.rows[0].items()))

    seen = {rows()}
    for name in MODERN.keys() - {"warmup_share", "use_augmentation"}:
        seen.add(rows(**{name: MODERN[name]}))
    assert len(seen) == len(MODERN) - 1


@pytest.mark.parametrize("damage", ["empty", "torn", "one byte"])
def test_a_damaged_checkpoint_is_removed_and_the_training_starts_from_the_first_epoch(cnn_params, tmp_path, damage):
    config, last = TrialConfig.from_params(cnn_params | {"max_epochs": 2}), tmp_path / "last.ckpt"
    with pytest.raises(SystemExit):
        fit(config, [Rows(stop_after=1, save_to=last)])
    whole = bytearray(last.read_bytes())
    with zipfile.ZipFile(last) as archive:  # torch would load damaged weights without an error
        weights = archive.read(max(archive.infolist(), key=lambda member: member.file_size))
    middle = whole.index(weights) + len(weights) // 2
    whole[middle] ^= 255
    last.write_bytes({"empty": b"", "torn": whole[:middle], "one byte": whole}[damage])
    rows = Rows()
    metrics = fit(config, [rows], resume_from=last)
    assert [row["epoch"] for row in rows.rows] == [1, 2]
    assert metrics["note"] == "last.ckpt was damaged: started again from the first epoch"
    assert not last.exists()


LAUNCHERS = {
    "slurm": {"SLURM_JOB_ID": "7", "SLURM_JOB_NAME": "search", "SLURM_NTASKS": "4", "SLURM_PROCID": "2",
              "SLURM_LOCALID": "2", "SLURM_NODEID": "1", "SLURM_NODELIST": "node[1-2]"},
    "open mpi": {"OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_RANK": "2", "OMPI_COMM_WORLD_LOCAL_RANK": "2"},
    "mpich": {"PMI_SIZE": "4", "PMI_RANK": "2"},
    "torchelastic": {"TORCHELASTIC_RUN_ID": "7", "RANK": "2", "WORLD_SIZE": "4", "LOCAL_RANK": "2", "GROUP_RANK": "1",
                     "LOCAL_WORLD_SIZE": "2"},
    "lsf": {"LSB_JOBID": "7", "LSB_DJOB_RANKFILE": "/no/such/file", "JSM_NAMESPACE_RANK": "2",
            "JSM_NAMESPACE_LOCAL_RANK": "2", "JSM_NAMESPACE_SIZE": "4"},
    "kubeflow": {"KUBERNETES_PORT": "tcp://10.0.0.1:443", "MASTER_ADDR": "192.0.2.1", "MASTER_PORT": "29500",
                 "WORLD_SIZE": "4", "RANK": "2"},
    "left over": {"LOCAL_RANK": "2", "RANK": "2", "NODE_RANK": "1", "WORLD_SIZE": "4", "MASTER_ADDR": "192.0.2.1"},
}  # fmt: skip


@pytest.mark.parametrize("launcher", LAUNCHERS)
@pytest.mark.usefixtures("one_thread")
def test_a_trial_ignores_the_variables_of_batch_systems_and_launchers(cnn_params, monkeypatch, launcher):
    # Lightning detects MPI by these variables only where mpi4py is installed.
    monkeypatch.setattr("pytorch_lightning.plugins.environments.MPIEnvironment.detect", lambda: launcher == "open mpi")
    for name, value in LAUNCHERS[launcher].items():
        monkeypatch.setenv(name, value)
    before = signal.getsignal(signal.SIGUSR1)
    metrics = fit(TrialConfig.from_params(cnn_params | {"max_epochs": 1, "image_size": 8}))
    assert metrics["epochs"] == 1
    assert signal.getsignal(signal.SIGUSR1) == before  # Lightning would install a handler that requeues Slurm's job
    assert all(os.environ[name] == value for name, value in LAUNCHERS[launcher].items())


def test_a_checkpoint_is_written_directly_to_its_path(cnn_params, tmp_path, monkeypatch):
    elsewhere = tmp_path / "elsewhere"
    monkeypatch.setattr("tempfile.tempdir", str(elsewhere))  # does not exist, so no file can be created there
    with pytest.raises(SystemExit):
        fit(TrialConfig.from_params(cnn_params), [Rows(stop_after=1, save_to=tmp_path / "last.ckpt")])
    assert (tmp_path / "last.ckpt").stat().st_size > 0


def test_a_nan_loss_ends_the_training_in_the_middle_of_an_epoch(cnn_params, monkeypatch):
    seen = []
    real = Classifier.training_step

    def poisoned(self, batch, batch_idx):
        seen.append((self.current_epoch, batch_idx))
        return real(self, batch, batch_idx) * (float("nan") if seen[-1] == (1, 2) else 1.0)

    monkeypatch.setattr(Classifier, "training_step", poisoned)
    metrics = fit(TrialConfig.from_params(cnn_params | {"max_epochs": 4}))
    assert seen[-1] == (1, 2)
    assert (metrics["finished"], metrics["epochs"]) == ("diverged", 2)
    assert metrics["best_val_acc"] > 0.1


@pytest.mark.slow
@pytest.mark.skipif(not any(shutil.which(name) for name in ("g++", "clang++", "c++")), reason="no C++ compiler")
def test_a_compiled_network_learns_and_its_checkpoint_loads_like_any_other(cnn_params, tmp_path):
    keeper = Rows(weights=tmp_path / "best.ckpt")
    fit(TrialConfig.from_params(cnn_params | {"compile": True, "max_epochs": 2}), [keeper])
    best = max(keeper.rows, key=lambda row: row["val_acc"])
    assert best["val_acc"] > 0.3
    assert evaluate(tmp_path / "best.ckpt", "val")["val_acc"] == pytest.approx(best["val_acc"], abs=0.02)


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.skipif(not any(shutil.which(name) for name in ("g++", "clang++", "c++")), reason="no C++ compiler")
def test_every_network_of_a_process_is_compiled(cnn_params, monkeypatch):
    """A search trains hundreds of networks in one process; torch stops compiling the same code after a few times."""
    monkeypatch.setattr(torch._dynamo.config, "recompile_limit", 4)
    counters = torch._dynamo.utils.counters
    for filters in (1, 2, 3):
        counters.clear()
        params = {"compile": True, "max_epochs": 1, "first_layer_filters": filters, "conv_layers": 1}
        fit(TrialConfig.from_params(cnn_params | params))
        assert counters["frames"]["ok"] > 0, filters


def test_no_step_waits_for_the_device(cnn_params):
    """Tensors on the meta device have no values, so any attempt to read one raises."""
    config = TrialConfig.from_params(cnn_params)
    classifier = factory.build_classifier(config, 10).to("meta")
    batch = torch.rand(8, 3, 16, 16, device="meta"), torch.zeros(8, dtype=torch.int64, device="meta")
    assert classifier.training_step(batch, 0).is_meta
    classifier.validation_step(batch, 0)


NO_SPACE_ERRNOS = torch.OutOfMemoryError("no room for so many images")


class Small:
    """A fake device: its network has no memory for more than ``most`` images at a time."""

    def __init__(self, most: int, monkeypatch, error: Exception = NO_SPACE_ERRNOS):
        self.seen, self.error = [], error
        real = factory.build_scratch

        def smaller(*args):
            net = real(*args)
            net.register_forward_pre_hook(lambda module, inputs: self.check(len(inputs[0]), most))
            return net

        monkeypatch.setattr(factory, "build_scratch", smaller)

    def check(self, count: int, most: int) -> None:
        self.seen.append(count)
        if count > most:
            raise self.error


def test_out_of_memory_halves_the_micro_batch_and_reports_it(cnn_params, monkeypatch):
    params = cnn_params | {"max_epochs": 2, "batch_norm": False, "dropout": 0.0, "precision": "32-true"}
    whole = fit(TrialConfig.from_params(params))
    device = Small(20, monkeypatch)
    halved = fit(TrialConfig.from_params(params))
    assert device.seen[:3] == [64, 32, 16]
    assert max(device.seen[2:]) == 16
    assert halved["micro_batch"] == 16
    assert "micro_batch" not in whole
    assert halved["train_loss"] == pytest.approx(whole["train_loss"], rel=1e-3)


@pytest.mark.parametrize(
    "error",
    [MemoryError(), RuntimeError("CUDA error: out of memory"), RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED")],
)
def test_every_out_of_memory_error_halves_the_micro_batch(cnn_params, monkeypatch, error):
    Small(32, monkeypatch, error)
    assert fit(TrialConfig.from_params(cnn_params | {"max_epochs": 1}))["micro_batch"] == 32


def test_activations_are_computed_again_before_batches_are_cut(backbone_params, monkeypatch):
    params = backbone_params | {"strategy": "unfreeze_all", "weights": "none", "max_epochs": 1}
    plain = fit(TrialConfig.from_params(params))
    seen, real = [], Classifier.training_step

    def smaller(self, batch, batch_idx):
        seen.append((self.net.checkpointed, self.micro_batch))
        if not self.net.checkpointed:
            raise torch.OutOfMemoryError("no room")
        return real(self, batch, batch_idx)

    monkeypatch.setattr(Classifier, "training_step", smaller)
    saved = fit(TrialConfig.from_params(params))
    assert set(seen) == {(False, None), (True, None)}
    assert saved.pop("note") == CHECKPOINTED
    assert {**saved, "seconds": 0} == {**plain, "seconds": 0}


NO_ENGINE = RuntimeError("GET was unable to find an engine to execute this computation")


@pytest.mark.parametrize("free", [0.01, 0.5])
def test_a_full_gpu_tells_cudnns_words_from_other_faults(cnn_params, monkeypatch, free):
    device = Small(32, monkeypatch, NO_ENGINE)
    monkeypatch.setattr("inat.training.memory._gpu_memory", lambda: (free * 100, 100))
    config = TrialConfig.from_params(cnn_params | {"max_epochs": 1})
    if free < LITTLE_FREE:
        assert fit(config)["micro_batch"] == 32
    else:
        with pytest.raises(RuntimeError, match="unable to find an engine"):
            fit(config)
        assert device.seen == [64]


def test_an_error_of_cudnn_counts_if_the_gpu_refused_memory_although_some_is_free_by_now(cnn_params, monkeypatch):
    device, asked = Small(32, monkeypatch, NO_ENGINE), iter(range(100))
    monkeypatch.setattr("inat.training.memory._gpu_memory", lambda: (90, 100))
    monkeypatch.setattr("inat.training.fit.refusals", lambda: next(asked))
    assert fit(TrialConfig.from_params(cnn_params | {"max_epochs": 1}))["micro_batch"] == 32
    assert device.seen[:2] == [64, 32]


def test_an_error_without_another_cause_says_that_memory_ran_out(cnn_params, monkeypatch):
    Small(0, monkeypatch, NO_ENGINE)
    monkeypatch.setattr("inat.training.memory._gpu_memory", lambda: (1, 100))
    with pytest.raises(RuntimeError, match="CUDA out of memory: .*unable to find an engine") as caught:
        fit(TrialConfig.from_params(cnn_params))
    assert is_out_of_memory_text(str(caught.value))  # so the searcher learns it


class Float16(MixedPrecision):
    """float16 with a GradScaler, on a CPU."""

    def __init__(self):
        super().__init__("16-mixed", "cpu", torch.amp.GradScaler("cpu", init_scale=2.0**8))

    def autocast_context_manager(self):
        return torch.autocast("cpu", enabled=False)


class Overflow(nn.Module):
    """The first layer of a network whose output overflows in some of its training batches."""

    def __init__(self, batches):
        super().__init__()
        self.count, self.batches = 0, batches

    def forward(self, images):
        self.count += self.training
        return images * (float("inf") if self.training and self.count - 1 in self.batches else 1.0)


@pytest.fixture
def in_float16(monkeypatch, one_thread):
    """Trains in float16 with a network that overflows in the given batches; returns the metrics and the network."""

    def train(params, batches):
        nets, real = [], factory.build_scratch

        def build(*args):
            nets.append(nn.Sequential(Overflow(batches), real(*args)))
            return nets[-1]

        def trainer(config, callbacks, **limits):
            made = trainer_for(config, callbacks, **limits)
            made.strategy.precision_plugin = Float16()
            return made

        monkeypatch.setattr(factory, "build_scratch", build)
        monkeypatch.setattr("inat.training.fit.trainer_for", trainer)
        return fit(TrialConfig.from_params(params | {"max_epochs": 2, "precision": "32-true"})), nets[0]

    return train


@pytest.mark.parametrize("options", [{}, {"grad_clip": 1.0}, {"ema_decay": 0.9}, {"accumulate": 2, "batch_size": 32}])
def test_one_step_that_overflows_float16_is_left_out(cnn_params, in_float16, options):
    metrics, net = in_float16(cnn_params | options, batches={1})
    assert (metrics["finished"], metrics["epochs"]) == ("max_epochs", 2)
    assert metrics["val_acc"] > 0.2
    assert 0 < metrics["train_loss"] < 5
    assert all(tensor.isfinite().all() for tensor in net.state_dict().values())  # also the statistics of batch norms


def test_the_mean_loss_is_that_of_the_steps_that_were_made(cnn_params, in_float16, monkeypatch):
    seen, real = [], Classifier._training_losses

    def kept(self, batch):
        seen.append((self.current_epoch, real(self, batch)))
        return seen[-1][1]

    monkeypatch.setattr(Classifier, "_training_losses", kept)
    metrics, _ = in_float16(cnn_params, batches={20})  # the third batch of the second epoch
    losses = [losses for epoch, losses in seen if epoch == 1 and losses.isfinite().all()]
    assert metrics["train_loss"] == pytest.approx(torch.cat(losses).mean().item(), rel=1e-5)
    assert len(losses) == 17


def test_losses_that_stay_infinite_in_float16_are_a_divergence(cnn_params, in_float16):
    metrics, _ = in_float16(cnn_params, batches=range(10_000))
    assert (metrics["finished"], metrics["epochs"]) == ("diverged", 1)


@pytest.mark.parametrize(("options", "searches"), [({}, True), ({"accumulate": 2, "batch_size": 32}, False)])
@pytest.mark.usefixtures("one_thread")
def test_cudnn_searches_its_algorithms_where_batches_have_one_size(cnn_params, monkeypatch, options, searches):
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", not searches)  # and what it was before comes back
    fit(TrialConfig.from_params(cnn_params | {"max_epochs": 1, "image_size": 8} | options))
    assert torch.backends.cudnn.benchmark == searches


def test_a_network_too_large_for_one_image_fails(cnn_params, monkeypatch):
    device = Small(0, monkeypatch)
    with pytest.raises(torch.OutOfMemoryError, match="no room for so many images"):
        fit(TrialConfig.from_params(cnn_params))
    assert device.seen == [64, 32, 16, 8, 4, 2, 1]


def test_other_errors_are_not_tried_again(cnn_params, monkeypatch):
    device = Small(0, monkeypatch)
    device.check = lambda count, most: (device.seen.append(count), (_ for _ in ()).throw(RuntimeError("a bug")))
    with pytest.raises(RuntimeError, match="a bug"):
        fit(TrialConfig.from_params(cnn_params))
    assert device.seen == [64]
