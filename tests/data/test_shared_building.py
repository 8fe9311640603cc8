"""Rows of one store that several processes compute: here threads, whose file locks are as separate."""

import errno
import fcntl
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from inat.data import shared_building
from inat.data.shared_building import help_with, shared_rows, wants_help

CHUNKS = [range(0, 4), range(4, 8), range(8, 12), range(12, 14)]
ALL = np.arange(14)


class Worker:
    """Computes rows, each equal to its number, and records by which chunks."""

    def __init__(self, wait: float = 0.0):
        self.computed, self.wait = [], wait

    def __call__(self, chunk):
        self.computed.append(chunk.start)
        time.sleep(self.wait)
        for start in range(chunk.start, chunk.stop, 2):
            yield np.arange(start, min(start + 2, chunk.stop))


def build(folder, compute) -> np.ndarray:
    return np.concatenate(list(shared_rows(folder, CHUNKS, compute)))


def test_alone_the_builder_computes_everything_and_leaves_no_files(tmp_path):
    worker = Worker()
    assert np.array_equal(build(tmp_path, worker), ALL)
    assert worker.computed == [0, 4, 8, 12]
    assert not list(tmp_path.iterdir())


def test_helpers_compute_chunks_of_the_builder_each_once_and_in_order(tmp_path):
    workers = [Worker(wait=0.1) for _ in range(3)]

    def help_until_closed(worker):
        while not wants_help(tmp_path):
            time.sleep(0.001)
        while help_with(tmp_path, CHUNKS, worker):
            pass

    with ThreadPoolExecutor(2) as pool:
        for worker in workers[1:]:
            pool.submit(help_until_closed, worker)
        assert np.array_equal(build(tmp_path, workers[0]), ALL)
    assert sorted(start for worker in workers for start in worker.computed) == [0, 4, 8, 12]
    assert workers[0].computed[0] == 0
    assert len(workers[0].computed) < 4
    assert not list(tmp_path.iterdir())


def test_the_builder_computes_the_chunk_of_a_helper_that_has_died(tmp_path):
    (tmp_path / "chunk-1.claim").touch()
    (tmp_path / "chunk-1.part").write_bytes(b"half")
    worker = Worker()
    assert np.array_equal(build(tmp_path, worker), ALL)
    assert sorted(worker.computed) == [0, 4, 8, 12]
    assert not list(tmp_path.iterdir())


def test_the_builder_waits_for_a_helper_that_lives_and_computes_what_comes_after(tmp_path):
    beats, worker = [], Worker()
    claim = (tmp_path / "chunk-1.claim").open("wb")
    fcntl.flock(claim, fcntl.LOCK_EX)

    def heartbeat():
        beats.append(list(worker.computed))
        if len(beats) == 5:
            np.save(tmp_path / "chunk-1.npy", np.arange(4, 8))

    rows = np.concatenate(list(shared_rows(tmp_path, CHUNKS, worker, heartbeat)))
    claim.close()
    assert np.array_equal(rows, ALL)
    assert worker.computed == beats[-1] == [0, 8, 12]


def test_nobody_helps_where_no_help_is_wanted(tmp_path):
    worker = Worker()
    assert not wants_help(tmp_path)
    assert not help_with(tmp_path, CHUNKS, worker)
    assert not help_with(tmp_path / "gone", CHUNKS, worker)
    assert not worker.computed


def test_a_helper_whose_disk_is_full_leaves_the_chunk_to_the_builder(tmp_path, monkeypatch):
    def fail(file, rows):
        raise OSError(errno.ENOSPC, "No space left on device")

    (tmp_path / "open").touch()
    monkeypatch.setattr(np, "save", fail)
    assert not help_with(tmp_path, CHUNKS, Worker())
    monkeypatch.undo()
    assert np.array_equal(build(tmp_path, Worker()), ALL)


def test_an_error_of_the_computation_reaches_builder_and_helper_and_leaves_no_files(tmp_path):
    def fail(chunk):
        raise ValueError("no rows")
        yield

    (tmp_path / "open").touch()
    with pytest.raises(ValueError, match="no rows"):
        help_with(tmp_path, CHUNKS, fail)
    with pytest.raises(ValueError, match="no rows"):
        build(tmp_path, fail)
    assert not list(tmp_path.iterdir())


def test_on_a_disk_without_locks_the_builder_works_alone(tmp_path, monkeypatch):
    def refuse(file, kind):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(shared_building.fcntl, "flock", refuse)
    worker = Worker()
    rows = shared_rows(tmp_path, CHUNKS, worker)
    first = next(rows)
    helper = Worker()
    thread = threading.Thread(target=help_with, args=(tmp_path, CHUNKS, helper))
    thread.start()
    thread.join()
    assert np.array_equal(np.concatenate([first, *rows]), ALL)
    assert worker.computed == [0, 4, 8, 12]
    assert not helper.computed
