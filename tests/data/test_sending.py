import threading
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from inat.data import sending
from inat.data.sending import Batch, Gather, PrefetchingLoader, SideStream, threads_for_gathering

GATHERS = {threads: Gather(threads) for threads in (1, 2, 3)}


@given(st.lists(st.integers(0, 9), max_size=20), st.sampled_from([1, 2, 3]), st.sampled_from([np.uint8, np.float32]))
def test_gathered_rows_are_those_of_the_array_in_their_order(rows, threads, dtype):
    array = np.arange(10 * 4 * 3, dtype=dtype).reshape(10, 4, 3)
    rows = np.array(rows, np.int64)
    assert torch.equal(GATHERS[threads](array, rows), torch.from_numpy(array[rows]))


@pytest.mark.parametrize("row", [-1, 10])
def test_a_row_that_is_not_there_is_an_error(row):
    with pytest.raises(IndexError):
        Gather()(np.zeros((10, 2)), np.array([3, row]))


def test_a_memory_map_is_gathered_from_its_file(tmp_path):
    np.save(tmp_path / "images.npy", np.arange(60, dtype=np.uint8).reshape(10, 2, 3))
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    assert Gather(2)(mapped, np.array([9, 0]))[:, 0, 0].tolist() == [54, 0]


def test_threads_gather_parts_of_a_batch_at_the_same_time(monkeypatch):
    """Each thread waits in the barrier for the other one."""
    barrier, copy_rows = threading.Barrier(2, timeout=20), sending._copy_rows
    monkeypatch.setattr(sending, "_copy_rows", lambda *args: (barrier.wait(), copy_rows(*args)))
    array = np.arange(12).reshape(6, 2)
    assert Gather(2)(array, np.array([5, 0, 3]))[:, 0].tolist() == [10, 0, 6]


@pytest.mark.parametrize(("cores", "threads"), [(1, 1), (2, 1), (4, 3), (64, 6)])
def test_one_core_is_left_for_the_work_of_the_gpu(monkeypatch, cores, threads):
    monkeypatch.setattr(torch, "get_num_threads", lambda: cores)
    assert threads_for_gathering() == threads


class Part:
    """A tensor whose journey is written down."""

    def __init__(self, name: str, log: list[str], pinned: bool = False) -> None:
        self.name, self.log, self.pinned = name, log, pinned

    def is_pinned(self) -> bool:
        return self.pinned

    def pin_memory(self) -> "Part":
        self.log.append(f"pin {self.name}")
        return Part(self.name, self.log, pinned=True)

    def to(self, device: str, non_blocking: bool) -> "Part":
        assert self.pinned
        assert non_blocking
        self.log.append(f"copy {self.name}")
        return self

    def record_stream(self, stream: SimpleNamespace) -> None:
        self.log.append(f"{stream.name} reads {self.name}")


@pytest.fixture
def log(monkeypatch) -> list[str]:
    """What streams and events are told."""
    log: list[str] = []

    @contextmanager
    def on(stream):
        log.append(f"on {stream.name}")
        yield
        log.append(f"off {stream.name}")

    event = SimpleNamespace(record=lambda stream: log.append(f"event after {stream.name}"))
    computing = SimpleNamespace(name="network", wait_event=lambda arrival: log.append("network waits for the event"))
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: SimpleNamespace(name="side"))
    monkeypatch.setattr(torch.cuda, "stream", on)
    monkeypatch.setattr(torch.cuda, "Event", lambda: event)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: computing)
    return log


def test_a_batch_is_copied_on_the_side_and_read_only_after_its_arrival(log):
    stream = SideStream(torch.device("cuda", 0))
    sent, arrival = stream.send(Batch(Part("images", log, pinned=True), Part("labels", log)))
    assert log == ["on side", "copy images", "pin labels", "copy labels", "event after side", "off side"]
    log.clear()
    assert stream.receive(sent, arrival) is sent
    assert sent.aspects is None
    # Without the last two, torch would fill the memory again while the network still reads it.
    assert log == ["network waits for the event", "network reads images", "network reads labels"]


class Numbers(torch.utils.data.Dataset):
    def __init__(self, log: list[str]) -> None:
        self.log = log
        self.gathered = threading.Semaphore(0)

    def __len__(self) -> int:
        return 8

    def __getitems__(self, indices: list[int]) -> Batch:
        self.gathered.release()
        return Batch(Part(f"{indices}", self.log, pinned=True), Part("labels", self.log, pinned=True))


def test_two_batches_are_on_their_way_before_the_first_is_used(log):
    numbers = Numbers(log)
    loader = PrefetchingLoader(numbers, 2, collate_fn=lambda batch: batch)
    loader.device = torch.device("cuda", 0)
    batches = iter(loader)
    assert next(batches).images.name == "[0, 1]"
    assert all(numbers.gathered.acquire(timeout=20) for _ in range(3))
    assert [batch.images.name for batch in batches] == ["[2, 3]", "[4, 5]", "[6, 7]"]
    assert log.count("network waits for the event") == 4
