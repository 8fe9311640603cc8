import os
import shutil
import socket
from pathlib import Path

import pytest

from inat.errors import SearchError
from inat.tuning.ray_backend import temporary_directory
from inat.tuning.ray_backend.temporary_directory import FOLDER, MAX_BYTES, SOCKET, temporary_place


@pytest.fixture
def place(monkeypatch):
    """A temporary folder with a shorter path than pytest's, in TMPDIR."""
    path = Path("/tmp") / f"t{os.getpid() % 100_000}"
    path.mkdir()
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    monkeypatch.setenv("TMPDIR", str(path))
    yield path
    shutil.rmtree(path)


def test_the_folder_of_the_environment_is_taken(place, monkeypatch):
    assert temporary_place(0) == place
    (place / "own").mkdir()
    monkeypatch.setenv("RAY_TMPDIR", str(place / "own"))
    assert temporary_place(0) == place / "own"


def test_the_longest_socket_that_ray_makes_fits(place, monkeypatch):
    longest = place / ("x" * (MAX_BYTES - len(str(place)) - 1))
    longest.mkdir()
    monkeypatch.setenv("TMPDIR", str(longest))
    path = Path(f"{temporary_place(0)}{FOLDER}{SOCKET}")
    assert path.is_relative_to(longest)
    path.parent.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


def test_a_long_path_and_a_missing_folder_are_passed_over(place, monkeypatch):
    long = place / ("x" * 60)
    long.mkdir()
    monkeypatch.setenv("TMPDIR", str(long))
    monkeypatch.setenv("RAY_TMPDIR", str(place / "missing"))
    assert not temporary_place(0).is_relative_to(place)


def test_full_places_are_passed_over_and_if_all_are_it_is_an_error(place, monkeypatch):
    monkeypatch.setattr(temporary_directory, "free_bytes", lambda folder: 1_000 if folder == place else 10**9)
    assert temporary_place(0) != place
    monkeypatch.setattr(temporary_directory, "free_bytes", lambda folder: 1_000)
    with pytest.raises(SearchError, match=rf"\({place} has 1.0 kB free; /tmp has 1.0 kB free; .* with 50.0 MB free"):
        temporary_place(0)


def test_a_small_shared_memory_makes_ray_need_more_space(place, monkeypatch):
    monkeypatch.setattr(temporary_directory, "free_bytes", lambda folder: 100_000_000)
    monkeypatch.setattr(temporary_directory, "SHARED_MEMORY", place)
    assert temporary_place(50_000_000) == place
    monkeypatch.setattr(temporary_directory, "SHARED_MEMORY", place / "missing")
    with pytest.raises(SearchError, match="with 150.0 MB free"):
        temporary_place(100_000_000)
