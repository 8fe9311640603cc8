from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from inat.data.loader import EpochShuffle, Held, SplitDataset, make_loader
from inat.data.resident import Part
from inat.data.sending import PrefetchingLoader
from inat.data.splits import Crops, Split

CPU = torch.device("cpu")


@pytest.fixture
def split() -> Split:
    """Ten images filled with their numbers; ``rows`` selects five of them."""
    images = np.arange(10, dtype=np.uint8).repeat(4 * 4 * 3).reshape(10, 4, 4, 3)
    return Split(images, np.arange(10, dtype=np.int64) * 100, np.array([1, 3, 4, 7, 9]))


def test_a_batch_is_gathered_at_once_in_channels_last(split):
    batch = SplitDataset(split, CPU).__getitems__([4, 0])
    assert batch.images.shape == (2, 3, 4, 4)
    assert batch.images.dtype == torch.uint8
    assert batch.images.is_contiguous(memory_format=torch.channels_last)
    assert batch.images[:, 0, 0, 0].tolist() == [9, 1]
    assert batch.labels.tolist() == [900, 100]
    assert batch.aspects is None


def test_with_crops_a_batch_has_larger_images_and_their_aspects(split):
    large = np.repeat(np.repeat(split.images, 2, axis=1), 2, axis=2)
    crops = Crops(large, np.linspace(1, 2, 10, dtype=np.float32))
    batch = SplitDataset(Split(split.images, split.labels, split.rows, crops), CPU).__getitems__([1])
    assert batch.images.shape == (1, 3, 8, 8)
    assert batch.images[0, 0, 0, 0] == 3
    assert batch.aspects.tolist() == pytest.approx([1 + 3 / 9])


def test_a_loader_goes_through_the_split_in_order_or_shuffled(split):
    in_order = torch.cat([batch.labels for batch in make_loader(split, 3, CPU)])
    assert in_order.tolist() == [100, 300, 400, 700, 900]
    shuffled = torch.cat([batch.labels for batch in make_loader(split, 3, CPU, shuffle_seed=1)])
    assert sorted(shuffled.tolist()) == in_order.tolist()
    assert shuffled.tolist() != in_order.tolist()


def test_a_last_training_batch_of_one_image_is_left_out_and_it_differs_between_epochs(split):
    training, left_out = make_loader(split, 2, CPU, shuffle_seed=1), set()
    for epoch in range(20):
        training.sampler.set_epoch(epoch)
        sizes = [len(batch.labels) for batch in training]
        assert sizes == [2, 2]
        left_out |= {100, 300, 400, 700, 900} - {int(n) for batch in training for n in batch.labels}
    assert left_out == {100, 300, 400, 700, 900}
    assert len(training) == 2
    assert [len(batch.labels) for batch in make_loader(split, 2, CPU)] == [2, 2, 1]


@pytest.mark.parametrize(("rows", "batch_size", "sizes"), [(5, 1, [1] * 5), (5, 4, [4]), (5, 3, [3, 2]), (1, 4, [1])])
def test_nothing_else_is_left_out(split, rows, batch_size, sizes):
    training = make_loader(replace(split, rows=split.rows[:rows]), batch_size, CPU, shuffle_seed=1)
    assert [len(batch.labels) for batch in training] == sizes


def test_a_pass_draws_nothing_from_the_global_generator(split):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    list(make_loader(split, 2, CPU, shuffle_seed=1))
    assert torch.equal(torch.get_rng_state(), before)


def test_the_order_depends_only_on_seed_and_epoch():
    a, b = EpochShuffle(50, seed=1), EpochShuffle(50, seed=1)
    first = list(a)
    assert sorted(first) == list(range(50))
    assert list(b) == first
    a.set_epoch(1)
    assert list(a) != first
    assert list(EpochShuffle(50, seed=2)) != first


def ahead(split: Split) -> PrefetchingLoader:
    return PrefetchingLoader(SplitDataset(split, CPU), 2, collate_fn=lambda batch: batch)


def test_prefetched_batches_are_the_same_in_the_same_order(split):
    assert [batch.labels.tolist() for batch in ahead(split)] == [[100, 300], [400, 700], [900]]


def test_prefetching_can_be_left_early_and_started_again(split):
    loader = ahead(split)
    for _ in range(3):
        passing = iter(loader)
        assert next(passing).labels.tolist() == [100, 300]
        passing.close()
    assert len(list(loader)) == 3


def test_an_error_while_prefetching_reaches_the_loop(split):
    broken = Split(split.images[:5], split.labels, split.rows)
    with pytest.raises(IndexError):
        list(ahead(broken))


def test_nothing_is_copied_for_a_cpu(split):
    assert SplitDataset(split, CPU).images.data_ptr() == split.images.ctypes.data


def test_held_images_are_read_by_their_place_among_the_held_rows(split):
    """The copy has the rows 1, 3, 4, 7, 8 and 9; the split has all of them but 8."""
    rows = np.array([1, 3, 4, 7, 8, 9])
    held = Held([torch.from_numpy(split.images[rows])], [Part(split.images, rows)])
    dataset = SplitDataset(split, CPU, held)
    assert dataset.images is held.copies[0]
    batch = dataset.__getitems__([4, 0])
    assert batch.images[:, 0, 0, 0].tolist() == [9, 1]
    assert batch.images.is_contiguous(memory_format=torch.channels_last)
    assert batch.labels.tolist() == [900, 100]


def drawn(labels: list[int], epoch: int = 0, seed: int = 0) -> list[int]:
    order = EpochShuffle(len(labels), seed, np.array(labels))
    order.set_epoch(epoch)
    return list(order)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=60), st.integers(0, 9))
def test_evenly_drawn_classes_come_equally_often_in_as_many_images(labels, epoch):
    rows = drawn(labels, epoch)
    counts = np.bincount(np.array(labels)[rows])[np.unique(labels)]
    assert len(rows) == len(labels)
    assert counts.max() - counts.min() <= 1


def test_evenly_drawn_rows_depend_only_on_seed_and_epoch():
    labels = [0] * 40 + [1] * 4
    assert drawn(labels) == drawn(labels)
    assert drawn(labels) != drawn(labels, epoch=1)
    assert drawn(labels) != drawn(labels, seed=1)


def test_every_image_of_a_class_is_drawn_equally_often():
    labels = [0] * 8 + [1] * 2
    times = np.bincount([row for epoch in range(1000) for row in drawn(labels, epoch)])
    # 5,000 draws per class; the standard deviations are 23.4 and 50.
    assert times[:8] == pytest.approx(np.full(8, 625), abs=120)
    assert times[8:] == pytest.approx(np.full(2, 2500), abs=250)


def test_the_first_rows_of_an_epoch_are_not_of_one_class():
    labels = [0] * 30 + [1] * 30
    assert len({labels[row] for row in drawn(labels)[:20]}) == 2
