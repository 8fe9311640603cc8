import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from inat.config.trial import TrialConfig
from inat.data import splits
from inat.data.datamodule import FeatureDataset
from inat.errors import ConfigError
from inat.models import feature_batches, frozen_features
from inat.models.frozen_features import FeaturePlan, open_features, plan_features
from tests.conftest import write_image
from tests.models.published import published


@pytest.fixture
def plan_of(backbone_params):
    def make(**changes) -> FeaturePlan:
        plan = plan_features(TrialConfig.from_params(backbone_params | changes))
        assert plan is not None
        return plan

    return make


def names(plan: FeaturePlan) -> list[str]:
    return [part.directory.name for part in plan.parts]


def values(store) -> torch.Tensor:
    return torch.tensor(store.rows).view(getattr(torch, store.dtype))


def test_features_are_the_outputs_of_the_frozen_stages(plan_of):
    plan = plan_of(strategy="freeze_partial", k_layers=6)
    _, val = open_features(plan)
    images = next(frozen_features._image_batches(plan.config, plan.parts[-1].split, torch.device("cpu")))
    with torch.no_grad():
        expected = plan.network.prefix()(images)
    assert expected.shape == (8, 96, 2, 2)
    assert torch.equal(values(val.views[0]).permute(0, 3, 1, 2), expected)
    assert val.labels.tolist() == [0] * 4 + [1] * 4


def test_the_features_of_a_frozen_body_are_vectors(plan_of):
    plan = plan_of()
    train, val = open_features(plan)
    assert [train.views[0].rows.shape, val.views[0].rows.shape] == [(32, 1280), (8, 1280)]
    assert (plan.image_bytes, plan.bytes) == (1280 * 4, 40 * 1280 * 4)
    assert plan_of(precision="bf16-mixed").bytes == plan.bytes / 2


def test_a_plan_knows_the_size_of_missing_features(plan_of):
    plan = plan_of(use_augmentation=True, views=3)
    assert (plan.bytes, plan.missing_bytes) == (104 * 5120, 104 * 5120)
    open_features(plan_of())
    assert plan.missing_bytes == 96 * 5120  # the validation images are the same
    open_features(plan)
    assert plan.missing_bytes == 0


def test_the_second_trial_reads_the_features_of_the_first(plan_of, monkeypatch, capsys):
    first = open_features(plan_of())
    assert "pushing 40 photos once through 19 frozen stages of mobilenet_v2: 204.8 kB in" in capsys.readouterr().err
    monkeypatch.setattr(frozen_features, "write_store", lambda *_: pytest.fail("computed again"))
    second = open_features(plan_of(learning_rate=0.1, batch_size=4, seed=3))
    assert [stores.views[0] is others.views[0] for stores, others in zip(first, second, strict=True)] == [True, True]
    assert capsys.readouterr().err == ""


def test_views_differ_and_are_the_same_for_every_trial(plan_of, capsys):
    train, val = open_features(plan_of(use_augmentation=True, views=3))
    assert "pushing 104 photos (3 augmented copies of each training photo) once through" in capsys.readouterr().err
    first, second, third = (values(view) for view in train.views)
    assert not torch.equal(first, second)
    assert not torch.equal(second, third)
    assert len(val.views) == 1
    plain, _ = open_features(plan_of())
    assert not torch.equal(values(plain.views[0]), first)
    shutil.rmtree(plan_of().directory)
    again, _ = open_features(plan_of(use_augmentation=True, views=2, seed=5))
    assert torch.equal(values(again.views[1]), second)


def test_computing_features_keeps_the_random_state_of_the_trial(plan_of):
    torch.manual_seed(4)
    expected = torch.get_rng_state()
    open_features(plan_of(use_augmentation=True, views=2))
    assert torch.equal(torch.get_rng_state(), expected)


@pytest.mark.parametrize(
    "change",
    [
        {"strategy": "freeze_partial", "k_layers": 1}, {"image_size": 48}, {"precision": "bf16-mixed"},
        {"weights": "none"}, {"val_share": 0.3}, {"resize": "crop"}, {"interpolation": "bicubic"},
    ],
    ids=["split point", "size", "precision", "weights", "rows", "crop", "interpolation"],
)  # fmt: skip
def test_settings_that_change_the_values_have_their_own_directories(plan_of, change):
    assert not set(names(plan_of())) & set(names(plan_of(**change)))


@pytest.mark.parametrize(
    "change",
    [
        {"learning_rate": 0.5}, {"batch_size": 3}, {"seed": 9}, {"max_epochs": 7}, {"views": 1},
        {"max_feature_gb": 1.0}, {"body_lr_factor": 0.5},
    ],
)  # fmt: skip
def test_settings_that_change_no_values_share_directories(plan_of, change):
    assert names(plan_of()) == names(plan_of(**change))


def test_more_views_reuse_the_existing_ones(plan_of):
    two, four = names(plan_of(use_augmentation=True, views=2)), names(plan_of(use_augmentation=True, views=4))
    assert two[:2] == four[:2]
    assert two[-1] == four[-1] == names(plan_of())[-1]
    assert len({*four, *names(plan_of())}) == 6


def test_other_weights_have_their_own_directories(plan_of, tmp_path):
    state = published("mobilenet_v2")
    state["features.0.0.weight"][0, 0, 0, 0] += 1
    torch.save(state, tmp_path / "mobilenet_v2.pth")
    assert not set(names(plan_of())) & set(names(plan_of(weights_dir=str(tmp_path))))


def test_changed_images_have_their_own_directories(plan_of, tmp_path):
    before = names(plan_of())
    write_image(tmp_path / "photos" / "train" / "bird" / "0.jpg", seed=77)
    for kept in (splits._plain_splits, splits._assign, splits._list_once):  # as in a new process
        kept.cache_clear()
    assert not set(before) & set(names(plan_of()))


@pytest.mark.parametrize(
    ("module", "name", "value"),
    [
        (torch, "__version__", "9"),
        (frozen_features, "this_device", lambda: torch.device("cuda")),
        (frozen_features, "FORMAT", 99),
    ],
    ids=["torch", "device", "format"],
)
def test_another_version_or_device_has_its_own_directories(plan_of, monkeypatch, module, name, value):
    before = names(plan_of())
    monkeypatch.setattr(module, name, value)
    assert not set(before) & set(names(plan_of()))


class Small:
    """A fake device without memory for more than ``most`` images at a time."""

    def __init__(self, most: int, monkeypatch):
        self.seen, self.most, self.push = [], most, frozen_features._run_frozen_stages
        monkeypatch.setattr(frozen_features, "_run_frozen_stages", self)

    def __call__(self, prefix, images, precision):
        self.seen.append(len(images))
        if len(images) > self.most:
            raise torch.OutOfMemoryError(f"no room for {len(images)} images")
        return self.push(prefix, images, precision)


def test_out_of_memory_halves_the_batch_and_changes_no_value(plan_of, monkeypatch):
    whole, _ = open_features(plan_of())
    expected = values(whole.views[0]).clone()
    shutil.rmtree(plan_of().directory)
    device = Small(10, monkeypatch)
    monkeypatch.setattr(frozen_features, "BATCH_SIZE", 24)
    plan = plan_of()
    halved, _ = open_features(plan)
    assert device.seen[:6] == [24, 12, 6, 6, 6, 6]
    assert max(device.seen[2:]) <= device.most
    assert torch.allclose(values(halved.views[0]), expected, rtol=1e-5, atol=1e-5)


def test_too_little_memory_for_one_image_is_an_error_and_leaves_no_files(plan_of, monkeypatch):
    plan, device = plan_of(), Small(0, monkeypatch)
    with pytest.raises(torch.OutOfMemoryError, match="no room for 1 images"):
        open_features(plan)
    assert device.seen == [32, 16, 8, 4, 2, 1]  # 32 training images
    assert not [path for path in plan.directory.glob("features-*") if path.suffix != ".lock"]


def test_infinite_values_are_refused_and_not_kept(plan_of, monkeypatch):
    plan = plan_of(precision="bf16-mixed")
    real = frozen_features._run_frozen_stages
    monkeypatch.setattr(
        frozen_features,
        "_run_frozen_stages",
        lambda *given: real(*given).index_fill(0, torch.tensor([1]), float("inf")),
    )
    with pytest.raises(ConfigError, match=r"of mobilenet_v2 give infinite or NaN values in bf16-mixed; pass"):
        open_features(plan)
    assert plan.missing_bytes == plan.bytes


def test_features_that_are_removed_while_they_are_opened_are_an_error(plan_of, monkeypatch):
    monkeypatch.setattr(frozen_features, "build_missing", lambda *_: None)
    with pytest.raises(frozen_features.DataError, match="were removed while they were opened; start again"):
        open_features(plan_of())


def test_light_and_full_augmentation_have_different_views(plan_of):
    usual = names(plan_of(use_augmentation=True, views=2))
    light = names(plan_of(use_augmentation=True, views=2, light_augmentation=True))
    assert len({*usual[:2], *light[:2]}) == 4


@pytest.mark.parametrize("setting", ["mixup_alpha", "cutmix_alpha", "random_erasing"])
def test_there_is_no_plan_for_erased_or_mixed_images(backbone_params, setting):
    assert plan_features(TrialConfig.from_params(backbone_params | {setting: 0.5})) is None


@pytest.mark.parametrize("change", [{"views": 0}, {"strategy": "unfreeze_all"}])
def test_there_is_no_plan_without_frozen_stages_or_views(backbone_params, change):
    assert plan_features(TrialConfig.from_params(backbone_params | change)) is None


def test_there_is_no_plan_for_a_new_cnn(cnn_params):
    assert plan_features(TrialConfig.from_params(cnn_params)) is None


def test_the_frozen_stages_return_to_the_cpu_after_an_error(plan_of, monkeypatch):
    moves = []
    plan = plan_of()
    prefix = plan.network.prefix()
    monkeypatch.setattr(type(prefix), "cpu", lambda self: moves.append("cpu") or self)
    Small(0, monkeypatch)
    with pytest.raises(torch.OutOfMemoryError):
        open_features(plan)
    assert moves == ["cpu"]


def test_another_cache_folder_has_the_same_directory_names(plan_of, tmp_path):
    plan = plan_of()
    moved = replace(plan.config, data=replace(plan.config.data, cache_dir=str(tmp_path / "other")))
    other = plan_features(moved)
    assert names(other) == names(plan)
    assert other.directory == Path(tmp_path / "other")


@pytest.mark.parametrize("augmented", [False, True])
def test_folds_share_their_features_and_each_gets_those_of_its_own_photos(plan_of, monkeypatch, augmented):
    def fold(number: int):
        plan = plan_of(folds=4, fold=number, use_augmentation=augmented, views=2)
        return plan, *open_features(plan)

    plan, _, _ = fold(0)
    assert plan.bytes == (3 if augmented else 1) * 40 * 5120  # two views and the photos as they are
    monkeypatch.setattr(frozen_features, "write_store", lambda *_: pytest.fail("computed again"))
    validated = []
    for number in range(4):
        plan, train, val = fold(number)
        assert (plan.missing_bytes, len(train.labels), len(val.labels)) == (0, 30, 10)
        dataset = FeatureDataset(val, torch.device("cpu"))
        batch = dataset.__getitems__(list(range(10)))
        images = next(frozen_features._image_batches(plan.config, plan.parts[-1].split, torch.device("cpu")))
        with torch.no_grad():
            expected = plan.network.prefix()(images)
        assert torch.allclose(batch.images, expected, atol=1e-4)
        assert torch.equal(batch.labels, torch.from_numpy(val.labels))
        validated += plan.parts[-1].split.rows.tolist()
        shuffled = FeatureDataset(train, torch.device("cpu")).__getitems__([29, 0, 7])
        assert shuffled.labels.tolist() == [train.labels[row] for row in (29, 0, 7)]
    assert sorted(validated) == list(range(40))


def test_a_long_computation_says_how_long_it_takes(monkeypatch, capfd):
    clock = iter([0.0, 4.0, 8.0, 12.0])
    monkeypatch.setattr(feature_batches.time, "monotonic", lambda: next(clock))
    batches = [np.zeros((10, 1))] * 3
    beats = []
    list(feature_batches.with_heartbeat(batches, lambda: beats.append(1), 100))
    assert len(beats) == 3
    assert capfd.readouterr().err == "about 32 s for the other 80 photos\n"
