import os
import shutil
import socket
import time
from pathlib import Path

import pytest
from filelock import FileLock

from inat.errors import SearchError
from inat.tuning.ray_backend import temporary_directory
from inat.tuning.ray_backend.temporary_directory import LOCK, MAX_BYTES, SOCKET, ray_directory


@pytest.fixture
def place(monkeypatch, short_path) -> Path:
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    monkeypatch.setenv("TMPDIR", str(short_path))
    return short_path


@pytest.fixture
def short_path():
    """A temporary folder with a shorter path than pytest's."""
    path = Path("/tmp") / f"t{os.getpid() % 100_000}"
    path.mkdir()
    yield path
    shutil.rmtree(path)


def test_the_folder_is_closed_to_others_and_goes(place):
    with ray_directory(0) as folder:
        folder.mkdir()
        folder.chmod(0o777)  # as Ray does
        assert folder.parent.parent == place
        assert folder.parent.stat().st_mode & 0o777 == 0o700
        assert folder.parent.stat().st_uid == os.getuid()
    assert not list(place.iterdir())


def test_the_longest_socket_that_ray_makes_fits(place, monkeypatch):
    longest = place / ("x" * (MAX_BYTES - len(str(place)) - 1))
    longest.mkdir()
    monkeypatch.setenv("TMPDIR", str(longest))
    with ray_directory(0) as folder:
        assert folder.is_relative_to(longest)
        path = Path(f"{folder}{SOCKET}")
        path.parent.mkdir(parents=True)
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(str(path))


def test_a_long_path_is_passed_over(place, monkeypatch):
    long = place / ("x" * 60)
    long.mkdir()
    monkeypatch.setenv("TMPDIR", str(long))
    monkeypatch.setenv("RAY_TMPDIR", str(place / "missing"))
    with ray_directory(0) as folder:
        assert not folder.is_relative_to(place)


def test_a_folder_without_space_is_passed_over_and_without_any_it_is_an_error(place, monkeypatch):
    monkeypatch.setattr(temporary_directory, "free_bytes", lambda folder: 1_000)
    with pytest.raises(SearchError, match=rf"{place} has 1.0 kB free; /tmp has 1.0 kB free; .* with 50.0 MB free"):
        with ray_directory(0):
            pass


def test_a_small_shared_memory_makes_ray_need_more_space(place, monkeypatch):
    monkeypatch.setattr(temporary_directory, "SHARED_MEMORY", place / "missing")
    monkeypatch.setattr(temporary_directory, "free_bytes", lambda folder: 100_000_000)
    with pytest.raises(SearchError, match="with 150.0 MB free"):
        with ray_directory(100_000_000):
            pass


def test_folders_of_killed_processes_go_and_those_of_running_ones_stay(place):
    abandoned, running, new, foreign = (
        place / name for name in ("inat-aaaaaaaa", "inat-bbbbbbbb", "inat-cccccccc", "inat-dddddddd")
    )
    for folder in (abandoned, running, new, foreign):
        folder.mkdir()
        if folder != foreign:
            (folder / LOCK).touch()
    hour_ago = time.time() - 3600
    for folder in (abandoned, running):
        os.utime(folder / LOCK, (hour_ago, hour_ago))
    with FileLock(running / LOCK), ray_directory(0):
        os.utime(running / LOCK, (hour_ago, hour_ago))
    assert sorted(place.iterdir()) == [running, new, foreign]
