import errno
import os
import threading

import pytest

from inat.errors import DiskFullError
from inat.study.atomic_io import atomic_replace, atomic_write, csv_lines


def test_a_reader_never_sees_a_half_written_file(tmp_path):
    path = tmp_path / "table"
    atomic_write(path, "0" * 100_000)
    done, seen = threading.Event(), set()

    def read() -> None:
        while not done.is_set():
            seen.add(path.read_text())

    reader = threading.Thread(target=read)
    reader.start()
    for i in range(100):
        atomic_write(path, str(i % 10) * 100_000)
    done.set()
    reader.join()
    assert all(len(text) == 100_000 and len(set(text)) == 1 for text in seen)
    assert [p.name for p in tmp_path.iterdir()] == ["table"]


def test_a_failed_write_keeps_the_old_text_and_leaves_no_temporary_file(tmp_path):
    path = tmp_path / "table"
    atomic_write(path, "old")
    with pytest.raises(UnicodeEncodeError):
        atomic_write(path, "new \ud800")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["table"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_the_message_of_a_full_disk_says_how_to_continue(tmp_path, monkeypatch, number):
    def refuse(handle):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", refuse)
    (tmp_path / "errors").mkdir()
    path = tmp_path / "errors" / "t0000.txt"
    with pytest.raises(DiskFullError, match=f"the disk of {path.parent} is full; free some space, then run the same"):
        atomic_write(path, "text")
    (tmp_path / "study.json").write_text("{}")
    with pytest.raises(DiskFullError, match=f"the disk of {tmp_path} is full; .* go on with --resume {tmp_path}$"):
        atomic_write(path, "text")
    assert list(path.parent.iterdir()) == []
    trainings = tmp_path / "final" / "retraining"  # a study as well, but not one that a search can resume
    trainings.mkdir(parents=True)
    (trainings / "study.json").touch()
    with pytest.raises(DiskFullError, match=f"the disk of {trainings} is full; .* run the same command again$"):
        atomic_write(trainings / "trials.csv", "text")


@pytest.mark.parametrize("error", [PermissionError("not yours"), RuntimeError("a bug")])
def test_other_errors_of_a_writer_are_passed_on(tmp_path, error):
    def write() -> None:
        with atomic_replace(tmp_path / "x") as partial:
            partial.write_text("half")
            raise error

    with pytest.raises(type(error), match=str(error)):
        write()
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_on_the_disk_before_it_replaces_another(tmp_path, monkeypatch):
    steps = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda handle: (steps.append("fsync"), fsync(handle)))
    monkeypatch.setattr(os, "replace", lambda *names: (steps.append("rename"), replace(*names)))
    atomic_write(tmp_path / "study.json", "{}")
    assert steps == ["fsync", "rename", "fsync"]  # the file, then its new name
    atomic_write(tmp_path / "trials.csv", "", sync=False)
    assert steps[3:] == ["rename"]


def test_rows_become_csv_with_quotes_if_needed():
    text = csv_lines([{"a": 'x,"y"', "b": None, "other": 1}, {"a": 2}], ["a", "b"], header=True)
    assert text == 'a,b\n"x,""y""",\n2,\n'
