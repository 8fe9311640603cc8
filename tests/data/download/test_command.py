import errno
import os
import shutil
import signal
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest

from inat.data.download import command, messages, unzip
from tests.data.site import (
    IMAGES,
    NAMES,
    ROOT,
    assert_whole,
    files_below,
    interrupt,
    refuse,
    run,
    start,
    wait_for_part,
    work,
    zipped,
)

Usage = namedtuple("Usage", "total used free")


@pytest.mark.parametrize("folder", ["", "inaturalist_12K/"])
def test_images_are_unpacked_from_an_archive_with_or_without_a_folder_of_its_own(site, to, folder, capsys):
    site.body = zipped(IMAGES, folder)
    run(site, to)
    assert_whole(to)
    lines = capsys.readouterr().out.splitlines()
    assert lines[-3:-1] == [f"{to} is complete: 12 photos", f"next: python tune_scratch.py --data {to}"]
    assert lines[-1] == f"or, for a first look: {lines[-2][6:]} --image-size 64 --num-samples 16 --max-epochs 9"
    assert sum(line.startswith("fetched ") for line in lines) == 10
    assert lines[10].startswith("fetched 100% of 24")
    assert "unpacked 100% of 240.0 kB" in lines


def test_empty_files_are_unpacked_too(site, to):
    site.body = zipped(dict.fromkeys(NAMES, b""))
    run(site, to)
    assert_whole(to, dict.fromkeys(NAMES, b""))


def test_a_terminal_gets_a_bar(site, to, capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    run(site, to)
    output = capsys.readouterr().out
    assert "━" in output
    assert "fetched 100%" not in output


def test_a_name_with_a_space_is_quoted_in_the_next_command(site, tmp_path, capsys):
    run(site, tmp_path / "my photos")
    assert f"next: python tune_scratch.py --data '{tmp_path}/my photos'\n" in capsys.readouterr().out


def test_an_empty_folder_and_a_link_to_another_disk_are_filled(site, tmp_path):
    (tmp_path / "large").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "large")
    run(site, tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert_whole(tmp_path / "large")


def test_a_complete_folder_is_counted_without_a_request(site, to, capsys):
    run(site, to)
    before, site.asked = files_below(to), []
    work(to).mkdir()  # as after a kill after the last step
    run(site, to)
    assert site.asked == []
    assert f"{to} was complete before: 12 photos, nothing to fetch\nnext: python" in capsys.readouterr().out
    assert files_below(to) == before
    assert not work(to).exists()


# Folders and disks.


def note_in_folder(to: Path) -> None:
    to.mkdir()
    (to / "thesis.txt").write_text("x")


def half_a_tree(to: Path) -> None:
    (to / "train" / "bird").mkdir(parents=True)
    (to / "train" / "bird" / "0.jpg").write_text("x")


@pytest.mark.parametrize(
    ("occupy", "message"),
    [
        (note_in_folder, r"no 'train' folder in .*photos, and a download never replaces files; name another folder"),
        (half_a_tree, r"no 'val' or 'test' folder in .*photos, and a download never replaces"),
        (lambda to: to.write_text("x"), r"photos is not a folder, and a download never replaces"),
    ],
)
def test_a_folder_with_other_content_is_left_as_it_is(site, to, occupy, message):
    to.parent.mkdir()
    occupy(to)
    before = files_below(to.parent)
    refuse(site, to, message)
    assert site.asked == []
    assert files_below(to.parent) == before
    assert list(to.parent.iterdir()) == [to]


def test_a_mount_point_is_refused_before_anything_is_fetched(site, to, monkeypatch):
    to.mkdir(parents=True)
    monkeypatch.setattr(command.os.path, "ismount", lambda path: path == to)
    refuse(site, to, f"{to} is a mount point, .* pass --to {to}/inaturalist_12K")
    assert site.asked == []


def test_files_that_appear_meanwhile_are_not_replaced(site, to, monkeypatch):
    monkeypatch.setattr(os, "sync", lambda: note_in_folder(to))
    refuse(site, to, r"cannot use .*: Directory not empty; remove the cause")
    assert [path.name for path in to.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize(
    ("free", "purpose", "requests_made", "kept"),
    [(500_000, "fetching and unpacking", 1, 0), (200_000, "unpacking", 0, 241_000)],
    ids=["before fetching", "before unpacking"],
)
def test_a_disk_that_is_too_small_is_noticed_before_writing(site, to, monkeypatch, free, purpose, requests_made, kept):
    if kept:
        monkeypatch.setattr(os, "sync", interrupt)
        with pytest.raises(KeyboardInterrupt):
            run(site, to)
        monkeypatch.undo()
        site.asked = []
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**9, 0, free))
    refuse(site, to, rf"the disk of {to.parent} has {free // 1000}.0 kB free and {purpose} needs \d+.\d kB; make room")
    assert len(site.asked) == requests_made
    assert sum(map(len, files_below(work(to)).values())) >= kept
    assert not to.exists()


def test_a_disk_that_fills_up_is_one_sentence_and_the_archive_is_kept(site, to, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(unzip, "_extract", full)
        refuse(site, to, rf"cannot use {to.parent}: No space left on device; remove the cause or name another folder")
    site.asked = []
    run(site, to)
    assert site.asked == []
    assert_whole(to)


def test_a_target_below_a_file_is_refused(site, tmp_path):
    (tmp_path / "file").write_text("x")
    refuse(
        site,
        tmp_path / "file" / "photos",
        r"cannot use .*/file.*: .*; remove the cause or name another folder with --to",
    )


def test_a_target_without_permission_is_refused(site, to, monkeypatch):
    def deny(path, *_, **__):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(Path, "mkdir", deny)  # because root, as in containers, may write to any folder
    refuse(site, to, rf"cannot use {work(to)}: Permission denied; remove the cause or name another folder with --to")
    assert site.asked == []


def test_a_closed_stdout_is_not_reported_as_an_error_of_the_disk(to):
    with pytest.raises(BrokenPipeError), messages.as_data_error(to):
        raise BrokenPipeError


# Interruptions.


def test_ctrl_c_leaves_no_folder_and_keeps_the_archive(site, to, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        patch.setattr(unzip, "_extract", interrupt)
        with pytest.raises(KeyboardInterrupt):
            run(site, to)
    assert capsys.readouterr().out.endswith("the part fetched so far is kept; the same command continues from there\n")
    assert not to.exists()
    run(site, to)
    assert len(site.asked) == 1
    assert_whole(to)


def test_a_second_process_is_refused_and_a_killed_one_is_continued(site, to):
    site.stall_at = 150_000
    first = start(site, to)
    wait_for_part(to, 131_072)  # the complete chunks
    second = start(site, to)
    output, errors = second.communicate(timeout=60)
    assert (second.returncode, output) == (2, "")
    assert errors == (
        f"error: another process is fetching {to}; wait until it has ended, or name another folder with --to\n"
    )
    first.kill()
    first.communicate(timeout=60)
    assert not to.exists()
    site.stall_at = None
    run(site, to)
    assert site.asked == [None, "bytes=131072-"]
    assert_whole(to)


def test_a_folder_that_another_process_just_completed_is_not_fetched_again(site, to, monkeypatch, capsys):
    answers = iter([None, 12])
    monkeypatch.setattr(command, "find_images", lambda _: next(answers))
    run(site, to)
    assert site.asked == []
    assert f"{to} is complete: 12 photos" in capsys.readouterr().out


# Kills itself at the N-th call of an attribute: `python -c ... MODULE ATTRIBUTE N DIR URL`.
KILLED = """
import functools, itertools, operator, os, pkgutil, signal, sys
from pathlib import Path
from inat.data.download.command import DownloadCommand, download
owner, name, moment = pkgutil.resolve_name(sys.argv[1]), sys.argv[2], int(sys.argv[3])
original, calls = getattr(owner, name), itertools.count(1)
def killed(*args, **kwargs):
    if next(calls) == moment:
        os.kill(os.getpid(), signal.SIGKILL)
    return original(*args, **kwargs)
setattr(owner, name, killed)
download(DownloadCommand(to=Path(sys.argv[4]), url=sys.argv[5]))
"""


@pytest.mark.parametrize(
    ("owner", "name", "call", "published"),
    [
        ("inat.data.download.http", "atomic_write", 1, False),
        ("inat.data.download.unzip", "_extract", 8, False),
        ("os", "sync", 1, False),
        ("inat.data.download.http:ResumableFile", "forget", 2, True),
    ],
    ids=["before the note", "while unpacking", "before renaming", "before cleaning up"],
)
def test_kill_9_leaves_a_complete_folder_or_none_and_the_same_command_completes_it(
    site, to, owner, name, call, published
):
    done = subprocess.run(
        [sys.executable, "-c", KILLED, owner, name, str(call), str(to), site.url],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    assert work(to).exists()
    assert to.exists() == published
    run(site, to)
    assert_whole(to)


def test_the_command_exits_with_0_or_with_one_sentence_and_2(site, to):
    done = start(site, to)
    output, errors = done.communicate(timeout=60)
    assert (done.returncode, errors) == (0, "")
    assert f"next: python tune_scratch.py --data {to}\n" in output
    (to / "val" / "fish").rename(to / "fish")
    again = start(site, to)
    output, errors = again.communicate(timeout=60)
    assert (again.returncode, output) == (2, "")
    assert errors.startswith("error: ")
    assert errors.count("\n") == 1
