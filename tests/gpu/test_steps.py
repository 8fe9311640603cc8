"""No batch of any configuration makes the host wait for the GPU, or copies in a way that does."""

import logging
from collections import Counter
from functools import partial
from unittest.mock import patch

import numpy as np
import pytest
import pytorch_lightning as pl

from inat.config.cnn import ACTIVATIONS
from inat.config.finetune import FinetuneConfig
from inat.config.trial import AUGMENTATION_POLICIES, TrialConfig
from inat.models import factory
from inat.training.checkpoint import portable_checkpoint
from inat.training.fit import LOGGERS, fit, trainer_for
from inat.tuning.space.presets import finetune_space, modern_space, scratch_space
from inat.tuning.space.recipe_space import recipe_space
from inat.tuning.space.scratch_recipe import scratch_recipe
from tests.gpu.fake_cuda import Counts, SecondBatch, Watch, fake_cuda

CNN = {
    "data": "digits", "image_size": 16, "first_layer_filters": 8, "filter_org": 1, "conv_layers": 2,
    "activation": "gelu", "dropout": 0.2, "batch_norm": True, "num_neurons_dense": 32, "learning_rate": 1e-3,
    "batch_size": 64, "max_epochs": 1,
}  # fmt: skip
SHARED = {"data": "digits", "image_size": 16, "max_epochs": 1}
SMALL_RESNET = SHARED | {
    "width": 8, "stem_filters": 8, "activation": "relu", "learning_rate": 1e-3, "batch_size": 64,
}  # fmt: skip
BACKBONE = {
    "data": "digits", "image_size": 32, "backbone": "timm:test_resnet.r160_in1k", "weights": "none", "views": 0,
    "strategy": "unfreeze_all", "learning_rate": 1e-3, "batch_size": 64, "max_epochs": 1,
}  # fmt: skip
ALL = {
    "use_augmentation": True, "block": "residual", "pooling": "average", "schedule": "cosine", "weight_decay": 0.05,
    "label_smoothing": 0.1, "mixup_alpha": 0.2, "cutmix_alpha": 1.0, "random_erasing": 0.25, "ema_decay": 0.9,
    "grad_clip": 1.0, "class_weights": "balanced", "balanced_sampler": True, "optimizer": "adamw",
}  # fmt: skip
# Every option in a few trainings; those of EACH have one option each.
TOGETHER = {
    "published": CNN | {"use_augmentation": True, "batch_norm": False, "activation": "mish"},
    "plain float32 sgd": CNN | {"precision": "32-true", "optimizer": "sgd"},
    "all": CNN | ALL,
    "all float16": CNN | ALL | {"precision": "16-mixed"},
    "accumulated": CNN | {"accumulate": 2, "grad_clip": 1.0, "precision": "16-mixed", "ema_decay": 0.9},
    "light": CNN | {"use_augmentation": True, "augmentation_policy": "light"},
    "shift": SMALL_RESNET | {"use_augmentation": True, "augmentation_policy": "shift", "schedule": "trapezoid"},
    "muon": SMALL_RESNET | {"optimizer": "muon", "grad_clip": 1.0, "weight_decay": 0.05},
    "muon float16": SMALL_RESNET | {"optimizer": "muon", "precision": "16-mixed"},
    "trivial": CNN | {"use_augmentation": True, "augmentation_policy": "trivial"},
    "fine-tuned": BACKBONE | {"layer_decay": 0.9, "grad_checkpointing": True, "drop_path": 0.1},
}  # fmt: skip
OPTIONS = [{name: value} for name, value in ALL.items()] + [{"augmentation_policy": p} for p in AUGMENTATION_POLICIES]
OPTIONS += [{"activation": name} for name in ACTIVATIONS] + [{"pooling": "maximum"}, {"block": "plain"}]
OPTIONS += [{"class_weights": "effective"}, {"optimizer": "sgd"}, {"accumulate": 2}, {"batch_norm": False}]
STRATEGIES = ("freeze_all", "freeze_partial", "unfreeze_all", "lp_ft", "lora", "bitfit", "norm_only")
EACH = {
    **{f"{option} {precision}": CNN | {"use_augmentation": "augmentation_policy" in option, "precision": precision}
       | option for option in OPTIONS for precision in ("bf16-mixed", "16-mixed")},
    **{name: BACKBONE | {"strategy": name, "k_layers": 2, "max_epochs": 2} for name in STRATEGIES},
    **{name: BACKBONE | {"backbone": name, "image_size": 80} for name in ("mobilenet_v2", "inception_v3", "vit_b_16")},
}  # fmt: skip


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def _no_fake_networks():
    yield
    factory._load.cache_clear()


def second_batches(params: dict[str, object], cache_dir: object, **gpu: object) -> Watch:
    """What the second batch of training and validation did, in a training of two batches each."""
    config = TrialConfig.from_params({"cache_dir": str(cache_dir)} | params)
    few = partial(trainer_for, limit_train_batches=2, limit_val_batches=2)
    with fake_cuda(**gpu) as watch:
        with patch("inat.training.fit.trainer_for", few), patch("inat.training.loss_check.EVERY", 1):
            fit(config, [SecondBatch(watch)])
    return watch


def report(params: dict[str, object], watch: Watch) -> str:
    lines = [f"{count} x {wait}" for part in (watch.training, watch.validation) for wait, count in _counted(part)]
    return "\n".join([f"the host waits in a batch of {params}:", *lines])


def _counted(counts: Counts) -> list[tuple[str, int]]:
    return Counter(counts.waits).most_common()


def check(params: dict[str, object], cache_dir: object) -> Watch:
    watch = second_batches(params, cache_dir)
    assert watch.training.batches >= 1, "no second batch was seen"
    assert watch.validation.batches >= 1, "no second batch was seen"
    assert watch.training.waits + watch.validation.waits == [], report(params, watch)
    return watch


@pytest.mark.filterwarnings("ignore:Total length of")
@pytest.mark.parametrize("name", TOGETHER)
def test_no_batch_waits_for_the_gpu(name, cache_dir):
    check(TOGETHER[name], cache_dir)


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:Total length of")
@pytest.mark.parametrize("name", EACH)
def test_no_single_option_waits_for_the_gpu(name, cache_dir):
    check(EACH[name], cache_dir)


def sampled(space: dict[str, object], seed: int) -> dict[str, object]:
    """One configuration of a space."""
    np.random.seed(seed)  # Tune draws from numpy's global generator
    return {name: domain.sample() for name, domain in space.items()}


def recipe_of_photos() -> dict[str, object]:
    return recipe_space(scratch_recipe(image_size=16, images=10_000, classes=10, epochs=12))


SPACES = {"scratch": (CNN, scratch_space), "earlier": (CNN, modern_space), "modern": (SHARED, recipe_of_photos)}


@pytest.mark.filterwarnings("ignore:Total length of")
@pytest.mark.parametrize(("kind", "seed"), [("scratch", 0), ("earlier", 0), ("modern", 0)])
def test_no_sampled_network_waits_for_the_gpu(kind, seed, cache_dir):
    settings, space = SPACES[kind]
    check(settings | sampled(space(), seed) | {"batch_size": 32}, cache_dir)


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:Total length of")
@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("kind", [*SPACES, "finetune"])
def test_no_configuration_of_a_space_waits_for_the_gpu(kind, seed, cache_dir):
    if kind == "finetune":
        config = FinetuneConfig(searcher="tpe", recipe="modern", backbones=("resnet50", "efficientnet_v2_s"))
        params = BACKBONE | {"image_size": 64} | sampled(finetune_space(config), seed)
    else:
        settings, space = SPACES[kind]
        params = settings | sampled(space(), seed)
    check(params | {"batch_size": 16}, cache_dir)


@pytest.mark.filterwarnings("ignore:Total length of")
def test_a_trial_on_a_gpu_says_nothing_and_its_checkpoint_is_for_any_machine(cache_dir, caplog, capsys):
    kept = []

    class Keep(pl.Callback):
        def on_train_epoch_end(self, trainer, pl_module):
            kept.append({tensor.device.type for tensor in portable_checkpoint(trainer)["state_dict"].values()})
            kept.append({parameter.device.type for parameter in pl_module.parameters()})

    for name in LOGGERS:  # as in a new process
        logging.getLogger(name).setLevel(logging.NOTSET)
    with caplog.at_level(logging.INFO), fake_cuda():
        few = partial(trainer_for, limit_train_batches=1, limit_val_batches=1)
        with patch("inat.training.fit.trainer_for", few):
            fit(TrialConfig.from_params(CNN | {"cache_dir": str(cache_dir), "ema_decay": 0.9}), [Keep()])
    assert kept == [{"cpu"}, {"cuda"}]
    assert [record.getMessage() for record in caplog.records if "pytorch" in record.name] == []
    assert capsys.readouterr().out == ""


@pytest.mark.filterwarnings("ignore:Total length of")
def test_convolutions_of_a_gpu_compute_in_16_bit(cache_dir):
    """Otherwise the fake GPU would not be one: CUDA's autocast casts what the convolutions read."""
    lower = second_batches(CNN | {"precision": "bf16-mixed"}, cache_dir).training
    whole = second_batches(CNN | {"precision": "32-true"}, cache_dir).training
    assert lower.bytes["convolution"] < 0.6 * whole.bytes["convolution"]
    assert lower.kernels["_fused_adam_"] == 1
