import gc
from itertools import permutations
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from inat.config.trial import DataConfig, TrialConfig
from inat.constants import NOTE
from inat.data import datamodule, resident
from inat.data.datamodule import ImageDataModule
from inat.data.resident import Part, hold, room_of
from inat.training.epoch_recorder import EpochRecorder
from tests.data.fake_gpu import FakeGpu

CPU = torch.device("cpu")
ROW = 8  # bytes of a row


@pytest.fixture(autouse=True)
def nothing_held():
    resident._copies.clear()
    yield
    resident._copies.clear()


def array(rows: int) -> np.ndarray:
    return np.arange(rows, dtype=np.int64).view(np.uint8).reshape(rows, ROW)


def held() -> int:
    return sum(copy.tensor.nbytes for copy in resident._copies.values())


def test_only_the_rows_that_are_read_are_copied(monkeypatch):
    monkeypatch.setattr(resident, "CHUNK_BYTES", 3 * ROW)  # copies in several steps
    images, rows = array(100), np.arange(1, 100, 9)
    copy = hold([[Part(images, rows)]], FakeGpu(10**6))[0][0]
    assert torch.equal(copy, torch.from_numpy(images[rows]))


def test_all_rows_are_copied_without_rows():
    images = array(10)
    assert torch.equal(hold([[Part(images)]], FakeGpu(10**6))[0][0], torch.from_numpy(images))


@pytest.mark.parametrize(("share", "used", "room"), [(1.0, 0, 500), (0.25, 0, 125), (0.25, 900, 50), (1.0, 400, 300)])
def test_half_of_a_trials_share_of_the_gpu_or_of_what_is_free_is_for_its_images(share, used, room):
    assert room_of(FakeGpu(1000, used), share) == room


def test_training_rows_come_before_validation_rows_and_a_group_is_held_whole_or_not_at_all():
    train, val, gpu = array(10), array(4), FakeGpu(2 * 12 * ROW)
    copies = hold([[Part(train)], [Part(val[:2]), Part(val[2:])]], gpu)
    assert [copy is not None for copy in copies] == [True, False]
    assert held() == 10 * ROW
    assert [copy is not None for copy in hold([[Part(array(13))], [Part(val)]], gpu)] == [False, True]


def test_a_later_trial_shares_the_copy():
    images, rows, gpu = array(10), np.array([1, 2]), FakeGpu(10**6)
    first = hold([[Part(images, rows)]], gpu)[0][0]
    assert hold([[Part(images, rows.copy())]], gpu)[0][0] is first
    assert gpu.copied == [2 * ROW]


def test_an_array_of_two_groups_is_held_once():
    images, gpu = array(10), FakeGpu(2 * 10 * ROW)
    train, val = hold([[Part(images)], [Part(images)]], gpu)
    assert train[0] is val[0]


def test_copies_that_the_next_trial_does_not_need_stay_until_their_room_is_needed():
    plain, crops, features, gpu = array(4), array(8), array(5), FakeGpu(2 * 13 * ROW)
    hold([[Part(plain)]], gpu)
    hold([[Part(crops)]], gpu)
    assert (held(), gpu.releases) == (12 * ROW, 0)
    hold([[Part(plain)]], gpu)  # now the crops are the oldest
    hold([[Part(features)]], gpu)
    assert (held(), gpu.releases) == (9 * ROW, 1)
    hold([[Part(plain)]], gpu)
    assert gpu.copied == [4 * ROW, 8 * ROW, 5 * ROW]


TRIALS = {"plain": (4, 1), "augmented": (8, 1), "features": (11,), "large": (12, 2)}


@given(st.permutations([*TRIALS, *TRIALS]), st.integers(0, 30), st.sampled_from([1.0, 0.5]))
def test_what_is_held_does_not_depend_on_the_trials_before(order, memory, share):
    resident._copies.clear()
    arrays = {name: [array(rows) for rows in sizes] for name, sizes in TRIALS.items()}
    gpu, limit = FakeGpu(memory * ROW), share * memory / 2
    for name in order:
        copies = hold([[Part(one)] for one in arrays[name]], gpu, share)
        room = limit
        for rows, copy in zip(TRIALS[name], copies, strict=True):
            assert (copy is not None) is (rows <= room)
            room -= rows if copy is not None else 0
        assert held() <= limit * ROW


def test_every_order_of_the_issues_trials_holds_the_training_images_on_24_gigabytes():
    """8,000 photos to train on at 224 px, and 8,000 at 448 px to cut crops from; in rows of 1 MB."""
    for order in permutations([1204, 4817, 1204]):
        resident._copies.clear()
        gpu = FakeGpu(24_000 * ROW)
        arrays = [array(rows) for rows in order]
        assert all(hold([[Part(one)]], gpu)[0] is not None for one in arrays)


def test_a_gpu_that_another_process_fills_meanwhile_gets_its_images_sent():
    assert hold([[Part(array(10))]], FakeGpu(10**6, room=9 * ROW)) == [None]


def test_a_group_of_which_a_part_finds_no_room_leaves_nothing_behind():
    small, large = Part(array(1)), Part(array(8))
    assert hold([[small, large]], FakeGpu(10**9, room=small.nbytes)) == [None]
    assert held() == 0


def test_a_training_whose_network_needs_the_memory_holds_nothing(monkeypatch):
    gpu = FakeGpu(10**9)
    module = images_on(gpu, monkeypatch)
    module.holds = False
    monkeypatch.setattr(module, "_device", lambda: torch.device("cuda", 0))
    module.train_dataloader()
    assert gpu.copied == []
    assert module.note == "batches are sent to the GPU: the network needs its memory"


def test_a_copy_is_dropped_with_its_array():
    images = array(10)
    hold([[Part(images)]], FakeGpu(10**6))
    assert held() == 10 * ROW
    del images
    gc.collect()
    assert held() == 0


def images_on(gpu: FakeGpu, monkeypatch: pytest.MonkeyPatch, **options: object) -> ImageDataModule:
    """A data module of a training on a GPU, which has taken its training batches."""
    data = ImageDataModule(DataConfig(**{"data": "digits", "image_size": 8} | options), batch_size=64)
    data.trainer = SimpleNamespace(strategy=SimpleNamespace(root_device=torch.device("cuda", 0)))
    monkeypatch.setattr(datamodule, "Gpu", lambda device: gpu)
    monkeypatch.setattr(datamodule, "why_plain", lambda device: "")
    monkeypatch.setattr(data, "_device", lambda: SimpleNamespace(type="cuda"))
    monkeypatch.setattr(datamodule, "batch_loader", lambda dataset, *_: dataset)
    monkeypatch.setattr(datamodule.SplitDataset, "_send", lambda self, values: torch.from_numpy(values))
    return data


def test_a_training_holds_its_training_and_validation_images(monkeypatch):
    gpu = FakeGpu(10**9)
    data = images_on(gpu, monkeypatch)
    train, val = data.train_dataloader(), data.val_dataloader()
    pixels = 8 * 8 * 3
    assert gpu.copied == [len(train) * pixels, len(val) * pixels]
    for dataset, split in ((train, data.splits.train), (val, data.splits.val)):
        batch = dataset.__getitems__([5, 0])
        expected = split.images[split.rows[[5, 0]]]
        assert torch.equal(batch.images.permute(0, 2, 3, 1), torch.from_numpy(expected))
        assert batch.labels.tolist() == split.labels[split.rows[[5, 0]]].tolist()
    assert data.note == ""


def test_all_folds_share_the_images(monkeypatch, image_tree, tmp_path):
    gpu, photos = FakeGpu(10**9), {"data": str(image_tree()), "cache_dir": str(tmp_path / "cache")}
    for fold in range(3):
        data = images_on(gpu, monkeypatch, folds=3, fold=fold, **photos)
        train = data.train_dataloader()
        rows = data.splits.train.rows[[7, 2]]
        expected = torch.from_numpy(data.splits.train.images[rows])
        assert torch.equal(train.__getitems__([7, 2]).images.permute(0, 2, 3, 1), expected)
    assert len(gpu.copied) == 1


def test_a_validation_alone_holds_nothing(monkeypatch):
    gpu = FakeGpu(10**9)
    images_on(gpu, monkeypatch).val_dataloader()
    assert gpu.copied == []


def test_the_study_says_that_images_are_sent(monkeypatch, cnn_params):
    data = images_on(FakeGpu(1000), monkeypatch)
    monkeypatch.setattr(data, "_device", lambda: torch.device("cuda", 0))
    data.train_dataloader()
    assert data.note == "batches are sent to the GPU: 220.6 kB to train on, and room for 500 bytes"
    recorder = EpochRecorder(TrialConfig.from_params(cnn_params), (), {NOTE: "resumed"})
    recorder.on_train_start(SimpleNamespace(datamodule=data), None)
    assert recorder._constant_columns[NOTE] == f"resumed; {data.note}"


def test_the_study_says_that_triton_does_not_work(monkeypatch):
    data = images_on(FakeGpu(10**9), monkeypatch)
    monkeypatch.setattr(datamodule, "why_plain", lambda device: "Triton is not installed")
    data.train_dataloader()
    assert data.note == "batches are prepared in many small steps: Triton is not installed"
