"""Trainings on kept features compared with trainings of the whole network: only the time may differ."""

import errno
import os
import shutil
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch

from inat.config.backbones import BACKBONE_NAMES
from inat.config.trial import TrialConfig
from inat.constants import TRAIN_ACC, TRAIN_LOSS, VAL_ACC, VAL_LOSS
from inat.errors import DataError
from inat.models import frozen_features
from inat.models.factory import load_pretrained
from inat.training import inputs
from inat.training.fit import fit
from tests.conftest import Rows

KEPT, CLASSIC = {}, {"views": 0}
# Small image sizes; for these tests the features need not be good.
SIDES = dict.fromkeys(BACKBONE_NAMES, 64) | {"vit_b_16": 32, "inception_v3": 75}


def rows_of(params) -> list[dict]:
    keeper = Rows()
    fit(TrialConfig.from_params(params), [keeper])
    return keeper.rows


def kept_directories(params) -> list[Path]:
    return sorted(Path(params["cache_dir"]).glob("features-*px"))


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize(
    "strategy", [{"strategy": "freeze_all"}, {"strategy": "freeze_partial", "k_layers": 2, "feature_rules": 3}]
)
def test_training_on_features_equals_training_all_bit_by_bit(backbone_params, strategy, precision, monkeypatch):
    monkeypatch.setattr(
        frozen_features, "BATCH_SIZE", backbone_params["batch_size"]
    )  # the last bits depend on the batch size
    params = backbone_params | strategy | {"precision": precision}
    kept = rows_of(params)
    assert kept == rows_of(params | CLASSIC)
    assert kept[0]["train_loss"] != kept[-1]["train_loss"]
    assert len(kept_directories(params)) == 2


@pytest.mark.parametrize(("precision", "tolerance"), [("32-true", 1e-5), ("bf16-mixed", 1e-2)])
def test_features_computed_in_larger_batches_give_the_same_up_to_rounding(backbone_params, precision, tolerance):
    params = backbone_params | {"precision": precision}
    assert params["batch_size"] < frozen_features.BATCH_SIZE
    kept, classic = rows_of(params), rows_of(params | CLASSIC)
    for name in (TRAIN_LOSS, TRAIN_ACC, VAL_LOSS, VAL_ACC):
        assert [row[name] for row in kept] == pytest.approx([row[name] for row in classic], rel=tolerance), name


class Watch(pl.Callback):
    """Records the state of frozen stages during a training, and the final state of the network."""

    def __init__(self):
        self.steps, self.in_train_mode, self.with_gradients, self.stages, self.state = 0, 0, 0, [], {}

    def on_train_batch_end(self, trainer, pl_module, *_):
        frozen = list(pl_module.net)[: pl_module.net.frozen]
        self.steps += 1
        self.in_train_mode += sum(module.training for stage in frozen for module in stage.modules())
        self.with_gradients += sum(
            p.requires_grad or p.grad is not None for stage in frozen for p in stage.parameters()
        )

    def on_train_end(self, trainer, pl_module):
        self.stages = [name for name, _ in pl_module.net.named_children()]
        self.state = {key: tensor.clone() for key, tensor in pl_module.net.state_dict().items()}


@pytest.mark.parametrize("way", [KEPT, CLASSIC], ids=["kept", "classic"])
@pytest.mark.parametrize(
    "backbone", [pytest.param(n, marks=[pytest.mark.slow] * (n == "vgg16")) for n in BACKBONE_NAMES]
)
def test_a_training_does_not_change_frozen_stages(backbone_params, backbone, way):
    changes = {"backbone": backbone, "image_size": SIDES[backbone], "strategy": "freeze_partial", "k_layers": 1,
               "weights": "none"}  # fmt: skip
    params = backbone_params | changes | {"max_epochs": 1, "batch_size": 16} | way
    config = TrialConfig.from_params(params)
    network = load_pretrained(config.model, SIDES[backbone], 2)
    before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    watch = Watch()
    fit(config, [watch])
    stages = [name for name, _ in network.named_children()]
    assert watch.stages == (stages if way else stages[-2:])
    assert (watch.steps, watch.in_train_mode, watch.with_gradients) == (2, 0, 0)
    after = load_pretrained(config.model, SIDES[backbone], 2).state_dict()
    assert all(torch.equal(after[key], tensor) for key, tensor in before.items())
    moved = {key for key, tensor in watch.state.items() if not torch.equal(tensor, before[key])}
    assert moved >= {key for key, _ in network.suffix().named_parameters() if not key.startswith("head")}
    assert not moved & network.prefix().state_dict().keys()


def test_the_head_depends_on_the_seed_and_not_on_earlier_trials_of_the_process(backbone_params):
    computing = rows_of(backbone_params)
    found = rows_of(backbone_params)
    rows_of(
        backbone_params | {"backbone": "resnet50", "weights": "none", "max_epochs": 1}
    )  # replaces the cached network
    assert computing == found == rows_of(backbone_params)
    assert rows_of(backbone_params | {"seed": 1}) != found


def test_with_augmentation_epochs_differ_and_repeat_with_the_seed(backbone_params):
    params = backbone_params | {"use_augmentation": True, "views": 3, "max_epochs": 4}
    rows = rows_of(params)
    names = [path.name.removeprefix("features-mobilenet_v2-") for path in kept_directories(params)]
    assert [name.rsplit("-", 2)[0] for name in names] == ["train-view0", "train-view1", "train-view2", "val"]
    assert rows == rows_of(params)
    assert rows != rows_of(params | {"seed": 1})
    assert rows != rows_of(backbone_params | {"max_epochs": 4})


@pytest.mark.parametrize("augment", [False, True])
def test_a_resumed_training_on_features_repeats_the_uninterrupted_one(backbone_params, tmp_path, augment):
    params = backbone_params | {"max_epochs": 4, "lr_step_epochs": 2, "use_augmentation": augment, "views": 2}
    config, whole = TrialConfig.from_params(params), rows_of(params)
    killed, resumed = Rows(stop_after=2, save_to=tmp_path / "last.ckpt"), Rows()
    with pytest.raises(SystemExit):
        fit(config, [killed])
    fit(config, [resumed], resume_from=tmp_path / "last.ckpt")
    assert len(resumed.rows) == 2
    assert killed.rows + resumed.rows == whole


@pytest.mark.parametrize(("before", "after"), [(KEPT, CLASSIC), (CLASSIC, KEPT)], ids=["to classic", "to kept"])
def test_a_training_can_be_resumed_the_other_way(backbone_params, tmp_path, monkeypatch, before, after):
    """As with another --max-feature-gb, or with more or less space on the disk."""
    monkeypatch.setattr(frozen_features, "BATCH_SIZE", backbone_params["batch_size"])
    params = backbone_params | {"strategy": "freeze_partial", "k_layers": 2}
    whole, last = rows_of(params), tmp_path / "last.ckpt"
    with pytest.raises(SystemExit):
        fit(TrialConfig.from_params(params | before), [Rows(stop_after=1, save_to=last)])
    stages = {key.split(".")[1] for key in torch.load(last, weights_only=True)["state_dict"]}
    assert stages == {"features17", "features18", "head"}
    resumed = Rows()
    fit(TrialConfig.from_params(params | after), [resumed], resume_from=last)
    assert resumed.rows == whole[1:]


def test_features_above_the_limit_are_not_kept_and_the_rows_note_it(backbone_params):
    rows = rows_of(backbone_params | {"max_feature_gb": 1e-4})
    assert {row.pop("note") for row in rows} == {
        "trained through the frozen stages in every epoch: their features take 204.8 kB, "
        "more than --max-feature-gb 0.0001"
    }
    assert kept_directories(backbone_params) == []
    assert rows == rows_of(backbone_params | CLASSIC)
    assert "note" not in rows_of(backbone_params | {"max_feature_gb": 2.1e-4})[0]


def test_features_that_do_not_fit_on_the_disk_are_not_kept_unless_they_exist(backbone_params, monkeypatch):
    monkeypatch.setattr(inputs, "free_bytes", lambda directory: 200_000)
    assert rows_of(backbone_params)[0]["note"].endswith(f"the disk of {backbone_params['cache_dir']} has 200.0 kB free")
    monkeypatch.undo()
    rows_of(backbone_params)
    monkeypatch.setattr(inputs, "free_bytes", lambda directory: 0)
    assert "note" not in rows_of(backbone_params)[0]


def test_a_disk_that_fills_up_while_writing_features_trains_the_whole_network(backbone_params, monkeypatch):
    """As when two trials write features at once and the disk has space for one of them, and the validation features."""
    real = frozen_features.write_store

    def full(directory, *rest):
        real(directory, *rest)
        if "train" in directory.name:
            shutil.rmtree(directory)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(frozen_features, "write_store", full)
    rows = rows_of(backbone_params)
    assert {row.pop("note") for row in rows} == {
        "trained through the frozen stages in every epoch: their features take 204.8 kB, "
        f"and the disk of {backbone_params['cache_dir']} became full while they were written"
    }
    assert rows == rows_of(backbone_params | CLASSIC)
    monkeypatch.undo()
    assert "note" not in rows_of(backbone_params)[0]


def test_a_cache_that_may_not_be_written_is_an_error(backbone_params, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(frozen_features, "write_store", refuse)
    with pytest.raises(DataError, match="cannot write to"):
        rows_of(backbone_params)


@pytest.mark.parametrize(
    "change", [CLASSIC, {"strategy": "unfreeze_all"}, {"strategy": "freeze_partial", "k_layers": 19}]
)
def test_no_features_are_kept_without_frozen_stages_or_views(backbone_params, change):
    (row,) = rows_of(backbone_params | change | {"max_epochs": 1})
    assert "note" not in row
    assert kept_directories(backbone_params) == []


def test_rows_have_the_same_number_of_trainable_parameters_either_way(backbone_params):
    counts = [rows_of(backbone_params | way | {"max_epochs": 1})[0]["trainable_parameters"] for way in (KEPT, CLASSIC)]
    assert counts == [1280 * 2 + 2] * 2


def test_an_unfrozen_body_learns_more_slowly_than_the_head(backbone_params):
    class Rates(pl.Callback):
        def on_train_start(self, trainer, pl_module):
            groups = trainer.optimizers[0].param_groups
            self.rates = [(group["lr"], sum(p.numel() for p in group["params"])) for group in groups]

    rates = Rates()
    fit(TrialConfig.from_params(backbone_params | {"strategy": "unfreeze_all", "max_epochs": 1}), [rates])
    assert rates.rates == [(1e-2, 2562), (pytest.approx(1e-3), 2_223_872)]


def test_a_backbone_trains_on_the_digits(backbone_params):
    metrics = fit(TrialConfig.from_params(backbone_params | {"data": "digits", "batch_size": 64}))
    assert metrics["best_val_acc"] > 0.3
    assert len(kept_directories(backbone_params)) == 2


NEW = {"feature_rules": 3}  # of the studies of this version


def test_features_that_are_too_large_are_kept_in_16_bit_and_the_rows_note_it(backbone_params):
    rows = rows_of(backbone_params | NEW | {"max_feature_gb": 1.1e-4})
    assert {row["note"] for row in rows} == {
        "features kept in 16 bit, 102.4 kB: their features take 204.8 kB, more than --max-feature-gb 0.00011"
    }
    assert len(kept_directories(backbone_params)) == 2
    exact = rows_of(backbone_params | NEW)
    assert "note" not in exact[0]
    assert [row[TRAIN_LOSS] for row in rows] == pytest.approx([row[TRAIN_LOSS] for row in exact], rel=1e-3)
    assert len(kept_directories(backbone_params)) == 4


def test_features_that_are_still_too_large_have_fewer_views(backbone_params):
    params = backbone_params | NEW | {"use_augmentation": True, "max_epochs": 1}
    rows = rows_of(params | {"max_feature_gb": 2.6e-4})  # 32 images in each of 4 views and 8 to validate on
    assert rows[0]["note"].startswith("features kept in ")
    assert " of 4 augmented views and in 16 bit, " in rows[0]["note"]
    assert 2 <= len(kept_directories(backbone_params)) <= 4
    rows = rows_of(params | {"max_feature_gb": 1e-5})
    assert rows[0]["note"].startswith("trained through the frozen stages in every epoch: their features take")


def test_features_of_another_training_make_room_for_new_ones(backbone_params):
    limit = {"max_cache_gb": 3e-4, "max_epochs": 1}
    rows_of(backbone_params | limit)
    before = set(kept_directories(backbone_params))
    assert rows_of(backbone_params | limit | {"seed": 1, "weights": "none"})[0].get("note") is None
    assert len(before - set(kept_directories(backbone_params))) == 1  # the oldest; the other one fits


def test_a_limit_below_the_features_of_one_trial_is_named_as_the_cause(backbone_params):
    (row,) = rows_of(backbone_params | {"max_cache_gb": 1e-5, "max_epochs": 1})
    assert row["note"].endswith(", more than --max-cache-gb 1e-05")


def test_mixup_of_a_head_mixes_features_and_other_alterations_are_noted(backbone_params):
    short = backbone_params | {"mixup_alpha": 0.4, "max_epochs": 2}
    rows = rows_of(short | NEW)
    assert "note" not in rows[0]
    assert len(kept_directories(backbone_params)) == 2
    assert rows[1][TRAIN_LOSS] != rows_of(backbone_params | NEW | {"max_epochs": 2})[1][TRAIN_LOSS]
    notes = [rows_of(short | change | {"max_epochs": 1})[0]["note"] for change in ({}, NEW | {"random_erasing": 0.1})]
    assert [note.partition(": ")[2] for note in notes] == [
        "mixup alters the photos that features would be made of",
        "random erasing alters the photos that features would be made of",
    ]
