"""What a search leaves behind: no key of a service in a file or list of processes, and the permissions of the umask."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.paths import ROOT

pytestmark = pytest.mark.slow
KEY = "deadbeefcafe0123456789abcdef0123456789ab"  # in the form of a key of W&B; belongs to nobody


@pytest.fixture(scope="module")
def searched(tmp_path_factory) -> tuple[Path, set[str]]:
    """The folder that holds all that a search wrote, temporary folders and home too, and the command lines it ran."""
    place = tmp_path_factory.mktemp("s", numbered=False)  # short: Ray's sockets are below it
    for name in ("home", "tmp"):
        (place / name).mkdir()
    environment = os.environ | {
        "HOME": str(place / "home"), "TMPDIR": str(place / "tmp"), "RAY_TMPDIR": str(place / "tmp"),
        "WANDB_API_KEY": KEY, "PYTHONPATH": str(ROOT),
    }  # fmt: skip
    options = "--data digits --num-samples 2 --max-epochs 3 --image-size 16 --wandb offline --tensorboard --name a"
    command = [
        sys.executable,
        str(ROOT / "tune_scratch.py"),
        *options.split(),
        "--storage-path",
        str(place / "results"),
    ]
    process = subprocess.Popen(command, env=environment, cwd=place, umask=0o077, stdout=subprocess.DEVNULL)
    lines: set[str] = set()
    while process.poll() is None:
        lines |= set(command_lines())
        time.sleep(0.5)
    assert process.returncode == 0
    return place, lines


def command_lines() -> Iterator[str]:
    """The command lines of all processes, as `ps` shows them to every user."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # the process has ended
            yield path.read_bytes().replace(b"\0", b" ").decode(errors="replace")


def test_a_key_is_in_no_file_and_no_list_of_processes(searched):
    place, lines = searched
    files = [path for path in place.rglob("*") if path.is_file()]
    assert any(path.suffix == ".wandb" for path in files)
    assert [path for path in files if KEY.encode() in path.read_bytes()] == []
    assert lines or not Path("/proc").is_dir()
    assert not [line for line in lines if KEY in line]


def test_results_are_open_to_this_user_only_under_a_umask_of_077(searched):
    place, _ = searched
    paths = [place / "results", *(place / "results").rglob("*")]
    assert (place / "results" / "a" / "report.html") in paths
    assert [path for path in paths if not path.is_symlink() and path.stat().st_mode & 0o077] == []
