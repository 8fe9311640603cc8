import errno
import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

from inat.data import feature_store
from inat.data.feature_store import build_missing, open_store, write_store
from inat.data.store import lock_path
from inat.errors import DataError

ROWS = np.arange(24, dtype=np.float32).reshape(6, 4)


def write(directory: Path, rows: np.ndarray = ROWS, at_once: int = 4) -> None:
    directory.parent.mkdir(exist_ok=True)
    parts = [rows[start : start + at_once] for start in range(0, len(rows), at_once)]
    write_store(directory, parts, len(rows), {"dtype": str(rows.dtype)})


@pytest.fixture
def place(tmp_path) -> Path:
    return tmp_path / "cache" / "features-net-train-0123-32px"


@pytest.mark.parametrize("rows", [ROWS, ROWS.reshape(6, 2, 2, 1).astype(np.uint16), ROWS[:1]])
def test_rows_written_in_batches_are_opened_as_one_memory_map(place, rows):
    assert open_store(place) is None
    write(place, rows)
    store = open_store(place)
    assert np.array_equal(store.rows, rows)
    assert store.rows.dtype == rows.dtype
    assert store.dtype == str(rows.dtype)
    assert isinstance(store.rows.base, np.memmap)
    assert not store.rows.flags.writeable
    assert [path.name for path in place.parent.iterdir()] == [place.name]


def test_opening_a_store_updates_when_it_was_last_used(place):
    write(place)
    os.utime(place, (0, 0))
    open_store(place)
    assert place.stat().st_mtime > 1e9


@pytest.mark.parametrize("damage", ["features.npy", "manifest.json", "cut", "garbled"])
def test_a_damaged_store_is_rebuilt_and_open_maps_keep_their_values(place, damage):
    write(place)
    before = open_store(place)
    if damage == "cut":
        (place / "other").write_bytes((place / "features.npy").read_bytes()[:-4])
        os.replace(place / "other", place / "features.npy")
    elif damage == "garbled":
        (place / "manifest.json").write_text("{")
    else:
        (place / damage).unlink()
    assert open_store(place) is None
    build_missing([place], lambda directory: write(directory, ROWS + 1))
    assert np.array_equal(open_store(place).rows, ROWS + 1)
    assert np.array_equal(before.rows, ROWS)


def test_an_existing_store_is_not_built_again(place):
    write(place)
    build_missing([place], lambda directory: pytest.fail("built again"))


def test_an_error_while_building_leaves_nothing(place):
    def batches():
        yield ROWS[:4]
        raise RuntimeError("half-way")

    with pytest.raises(RuntimeError, match="half-way"):
        build_missing([place], lambda directory: write_store(directory, batches(), 6, {"dtype": "float32"}))
    assert [path.suffix for path in place.parent.iterdir()] == [".lock"]


@pytest.mark.parametrize(
    ("number", "text"),
    [(errno.ENOSPC, r"the disk of .*cache is full; free some space"), (errno.EACCES, "cannot write")],
)
def test_an_error_of_the_system_becomes_one_sentence(place, monkeypatch, number, text):
    def refuse(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(DataError, match=text):
        build_missing([place], write)
    assert open_store(place) is None


def test_waiting_for_another_process_calls_the_heartbeat(place, monkeypatch):
    monkeypatch.setattr(feature_store, "POLL_SECONDS", 0.05)
    place.parent.mkdir()
    other, looks = FileLock(lock_path(place)), []
    other.acquire()

    def heartbeat() -> None:
        looks.append(None)
        if len(looks) == 3:
            other.release()

    build_missing([place], write, heartbeat)
    assert len(looks) == 3
    assert np.array_equal(open_store(place).rows, ROWS)


def run(script: str, *arguments: object) -> subprocess.Popen:
    command = [sys.executable, "-c", textwrap.dedent(script), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_build_that_was_killed_leaves_nothing_that_is_opened(place):
    place.parent.mkdir()
    script = """
        import os, signal, sys
        from pathlib import Path
        import numpy as np
        from inat.data.feature_store import build_missing, write_store

        def batches():
            yield np.ones((64, 4096), np.float32)
            os.kill(os.getpid(), signal.SIGKILL)

        build_missing([Path(sys.argv[1])], lambda d: write_store(d, batches(), 128, {"dtype": "float32"}))
    """
    process = run(script, place)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    left = place.with_name(f"{place.name}.building") / "features.npy"
    assert left.stat().st_size >= 64 * 4096 * 4
    assert open_store(place) is None
    build_missing([place], write)
    assert np.array_equal(open_store(place).rows, ROWS)
    assert not left.exists()


def test_several_processes_share_the_work_and_build_each_once(tmp_path):
    script = """
        import json, os, sys, time
        from pathlib import Path
        import numpy as np
        from inat.data.feature_store import build_missing, open_store, write_store

        built, places = [], [Path(sys.argv[1]) / f"features-net-view{v}-0{v}-32px" for v in range(3)]

        def build(directory):
            built.append(directory.name)
            time.sleep(0.5)
            write_store(directory, [np.full((2, 2), os.getpid())], 2, {"dtype": "int64"})

        print("ready", flush=True)
        sys.stdin.read()
        build_missing(places, build)
        print(json.dumps([built, [int(open_store(place).rows[0, 0]) for place in places]]))
    """
    command = [sys.executable, "-c", textwrap.dedent(script), str(tmp_path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(command, **pipes) for _ in range(3)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.close()
    answers = [json.loads(process.stdout.read()) for process in processes]
    messages = [process.stderr.read() for process in processes]
    assert [process.wait(timeout=60) for process in processes] == [0, 0, 0]
    built = [name for names, _ in answers for name in names]
    assert sorted(built) == [f"features-net-view{v}-0{v}-32px" for v in range(3)]
    assert max(len(names) for names, _ in answers) < 3  # they shared the work
    assert answers[0][1] == answers[1][1] == answers[2][1]
    assert messages == ["", "", ""]  # waiting processes print nothing


def test_a_flipped_bit_is_found_said_and_mended(place, capfd):
    write(place)
    content = bytearray((place / "features.npy").read_bytes())
    content[-3] ^= 1
    (place / "features.npy").write_bytes(content)
    assert open_store(place) is None
    assert capfd.readouterr().err == f"the features in {place} are damaged and are computed again\n"
    build_missing([place], write)
    assert np.array_equal(open_store(place).rows, ROWS)
    assert capfd.readouterr().err == ""


def test_a_store_is_verified_once_per_process(place, monkeypatch):
    write(place)
    open_store(place)
    monkeypatch.setattr(feature_store, "_crc32", lambda path: pytest.fail("read again"))
    assert open_store(place) is not None


def test_a_store_of_an_earlier_version_without_a_checksum_is_opened(place):
    write(place)
    (place / "manifest.json").write_text(json.dumps({"dtype": "float32"}))
    assert np.array_equal(open_store(place).rows, ROWS)
