"""One search on the built-in data, as its user meets it: its output, its files and their permissions, and no key."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import pytest

from analysis.study import load_study
from inat.training.evaluation import evaluate
from tests.paths import ROOT

pytestmark = pytest.mark.slow
KEY = "deadbeefcafe0123456789abcdef0123456789ab"  # in the form of a key of W&B; belongs to nobody


@dataclass(frozen=True)
class Searched:
    """What the command printed, the command lines of its processes, and the folder that holds all that it wrote."""

    place: Path
    output: str
    errors: str
    lines: set[str]

    @property
    def current(self) -> Path:
        return self.place / "current"

    @property
    def study(self) -> Path:
        return self.current / "results" / "study"


@pytest.fixture(scope="module")
def searched(tmp_path_factory) -> Searched:
    """A search with every logger, whose temporary folders and home are its own, for a user with a umask of 077."""
    place = tmp_path_factory.mktemp("s", numbered=False)  # short: Ray's sockets are below it
    for name in ("home", "tmp", "current"):
        (place / name).mkdir()
    environment = os.environ | {
        "HOME": str(place / "home"), "TMPDIR": str(place / "tmp"), "RAY_TMPDIR": str(place / "tmp"),
        "WANDB_API_KEY": KEY, "PYTHONPATH": str(ROOT),
        "MPLCONFIGDIR": matplotlib.get_cachedir(),  # a new home has no list of fonts, and making one may be announced
    }  # fmt: skip
    options = ["--data", "digits", "--image-size", "16", "--num-samples", "3", "--max-epochs", "3", "--patience", "2",
               "--name", "study", "--wandb", "offline", "--tensorboard",
               "--storage-path", str(place / "current" / "results")]  # fmt: skip
    lines: set[str] = set()
    with (place / "output").open("w") as output, (place / "errors").open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "tune_scratch.py"), *options], env=environment, cwd=place / "current",
            umask=0o077, stdout=output, stderr=errors,
        )  # fmt: skip
        while process.poll() is None:
            lines |= set(command_lines())
            time.sleep(0.5)
    found = Searched(place, (place / "output").read_text(), (place / "errors").read_text(), lines)
    assert process.returncode == 0, found.output + found.errors
    return found


def command_lines() -> Iterator[str]:
    """The command lines of all processes, as `ps` shows them to every user."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # the process has ended
            yield path.read_bytes().replace(b"\0", b" ").decode(errors="replace")


def test_one_command_searches_trains_and_tests(searched):
    assert searched.errors == ""
    lines = searched.output.splitlines()
    assert sum(line.startswith("[") for line in lines) == 3
    assert sum(not line.startswith(" " * 8) for line in lines) <= 20  # others list the front of costs, for example
    study = load_study(searched.study)
    assert len(study.trials) == 3
    best = json.loads((searched.study / "best.json").read_text())
    assert best["best_val_acc"] == study.trials["best_val_acc"].max()
    assert f"{best['test']['test_acc']:.4f} on 360 held-out images" in searched.output
    assert lines[-2] == f"report  {searched.study / 'report.html'}"
    assert lines[-1].startswith("next    ")
    assert f"{best['test']['test_acc']:.4f}" in (searched.study / "report.html").read_text()
    assert evaluate(searched.study / "best.ckpt", "val")["val_acc"] == pytest.approx(best["best_val_acc"], abs=1e-6)
    runs = list((searched.study / "wandb").glob("offline-run-*/*.wandb"))
    assert len(runs) == 3
    content = b"".join(path.read_bytes() for path in runs)
    for name in study.trials["name"]:
        assert name.encode() in content
    assert b"val_acc" in content
    assert {path.name for path in searched.current.iterdir()} == {"results"}
    assert {path.name for path in searched.study.parent.iterdir()} == {"study"}


def test_a_key_is_in_no_file_and_no_list_of_processes(searched):
    files = [path for path in searched.place.rglob("*") if path.is_file()]
    assert any(path.suffix == ".wandb" for path in files)
    assert [path for path in files if KEY.encode() in path.read_bytes()] == []
    assert searched.lines or not Path("/proc").is_dir()
    assert not [line for line in searched.lines if KEY in line]


def test_results_are_open_to_this_user_only_under_a_umask_of_077(searched):
    results = searched.current / "results"
    paths = [results, *results.rglob("*")]
    assert searched.study / "report.html" in paths
    assert [path for path in paths if not path.is_symlink() and path.stat().st_mode & 0o077] == []
