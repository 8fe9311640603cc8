import os
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

from inat.data import cache_room
from inat.data.cache_room import make_room
from inat.data.feature_store import open_store, write_store
from inat.data.lease import nobody_reads, take_lease
from inat.data.store import lock_path

PLENTY = 10**12
ROWS = np.zeros((100, 10), np.float32)  # 4,000 bytes


@pytest.fixture(autouse=True)
def no_reserve(monkeypatch):
    monkeypatch.setattr(cache_room, "reserve_bytes", lambda folder: 0)


@pytest.fixture
def cache(tmp_path) -> Path:
    """Three stores: old, middle and new by the time of their last use, and decoded images."""
    for age, name in ((30, "old"), (20, "middle"), (10, "new")):
        directory = tmp_path / f"features-net-{name}-0123-32px"
        write_store(directory, [ROWS], len(ROWS), {"dtype": "float32"})
        os.utime(directory, (10**9 - age, 10**9 - age))
    (tmp_path / "photos-train-4567-32px").mkdir()
    (tmp_path / "photos-train-4567-32px" / "images.npy").write_bytes(bytes(10**6))
    return tmp_path


def names(cache: Path) -> list[str]:
    return [path.name.split("-")[2] for path in by_use(cache)]


def by_use(cache: Path) -> list[Path]:
    return sorted(cache.glob("features-*px"), key=lambda path: path.stat().st_mtime)


def used(cache: Path) -> int:
    return sum(file.stat().st_size for file in cache.glob("features-*px/*"))


def test_nothing_is_removed_where_there_is_room(cache):
    assert make_room(cache, 5000, PLENTY)
    assert make_room(cache, 5000, PLENTY, most=used(cache) + 5000)
    assert names(cache) == ["old", "middle", "new"]


def test_a_full_disk_loses_the_features_that_were_not_read_for_the_longest_time(cache):
    assert make_room(cache, 5000, free=4000)
    assert names(cache) == ["middle", "new"]
    assert make_room(cache, 8000, free=1000)
    assert names(cache) == []
    assert (cache / "photos-train-4567-32px" / "images.npy").exists()


def test_a_limit_of_the_cache_counts_all_features(cache):
    assert make_room(cache, 5000, PLENTY, most=used(cache))
    assert names(cache) == ["new"]


def test_nothing_is_removed_if_that_would_not_be_enough(cache):
    assert not make_room(cache, 50_000, free=0)
    assert not make_room(cache, 5000, PLENTY, most=4000)
    assert names(cache) == ["old", "middle", "new"]


def test_features_that_are_read_or_kept_or_built_stay(cache):
    old, middle, _ = by_use(cache)
    store = open_store(old)
    os.utime(old, (1, 1))
    assert not make_room(cache, 9000, free=0)
    assert make_room(cache, 4000, free=0, keep=[middle])
    assert names(cache) == ["old", "middle"]
    with FileLock(lock_path(middle)):
        assert not make_room(cache, 4000, free=0)
    store.lease.close()
    assert make_room(cache, 4000, free=0, keep=[middle])
    assert names(cache) == ["middle"]


def test_a_reserve_of_the_disk_stays_free(cache, monkeypatch):
    monkeypatch.setattr(cache_room, "reserve_bytes", lambda folder: 3000)
    assert make_room(cache, 5000, free=8000)
    assert names(cache) == ["old", "middle", "new"]
    assert make_room(cache, 5000, free=7999)
    assert names(cache) == ["middle", "new"]


def test_the_reserve_is_a_small_share_of_a_small_disk(tmp_path, monkeypatch):
    monkeypatch.undo()
    monkeypatch.setattr(cache_room.shutil, "disk_usage", lambda place: _Usage())
    assert cache_room.reserve_bytes(tmp_path / "not" / "yet") == 50_000_000


class _Usage:
    total = 10**9


def test_a_lease_on_a_removed_file_is_refused(tmp_path):
    path = tmp_path / "features.npy"
    with pytest.raises(FileNotFoundError):
        take_lease(path)
    path.write_bytes(b"1")
    lease = take_lease(path)
    with nobody_reads(path) as free:
        assert not free
    lease.close()
    with nobody_reads(path) as free:
        assert free
