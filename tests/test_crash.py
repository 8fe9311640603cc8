"""Kill a search again and again, cut its journal as a power cut does, and resume it: nothing may be lost or wrong."""

import itertools
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from analysis.study import load_study
from inat.config.trial import active_params
from inat.study.study import Study
from inat.study_check.command import check_study
from inat.training.checkpoint import CONFIG_KEY
from inat.training.evaluation import evaluate
from inat.training.resume import checkpoint_row, checkpoint_value
from tests.helpers import children_of
from tests.paths import ROOT

TRIALS, KILLS = 24, 10
OPTIONS = ["--data", "digits", "--image-size", "16", "--num-samples", str(TRIALS), "--max-epochs", "9",
           "--max-failures", "20"]  # fmt: skip


def start(folder: Path, *how: str) -> subprocess.Popen[str]:
    command = [sys.executable, str(ROOT / "tune_scratch.py"), *how]
    with (folder / "output.txt").open("a") as output:
        return subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, text=True, cwd=folder)


def workers_of(pid: int) -> list[int]:
    """Processes that are training a trial at this moment."""
    listed = subprocess.run(["ps", "-eo", "pid,args"], capture_output=True, text=True, check=True).stdout
    rows = [line.split(None, 1) for line in listed.splitlines()[1:]]
    children = children_of(pid)
    return [int(pid) for pid, args in rows if int(pid) in children and "ray::ImplicitFunc" in args]


def wait_for_progress(process: subprocess.Popen[str], journal: Path, moment: float) -> bool:
    """Until the journal has grown and ``moment`` seconds more; False if the search has ended by itself."""
    size = journal.stat().st_size if journal.exists() else 0
    deadline = time.monotonic() + 180
    while process.poll() is None and not (journal.exists() and journal.stat().st_size > size):
        assert time.monotonic() < deadline, "the search wrote nothing for three minutes"
        time.sleep(0.02)
    end = time.monotonic() + moment
    while process.poll() is None and time.monotonic() < end:
        time.sleep(0.02)
    return process.poll() is None


def cut(journal: Path, chance: random.Random) -> None:
    """Take from the end of a journal what had not reached the disk; the checkpoints had."""
    lines = journal.read_bytes().splitlines(keepends=True)
    lost = min(chance.randrange(8), len(lines) - 1)  # the first line is never lost: an empty journal is refused
    kept, cut_off = b"".join(lines[: len(lines) - lost]), b"".join(lines[len(lines) - lost :])
    match chance.choice(["lines", "half a line", "NULs"]):
        case "half a line":
            kept += cut_off[: len(cut_off.split(b"\n")[0]) // 2]
        case "NULs":  # the new size had reached the disk, the content had not
            kept += bytes(len(cut_off))
    journal.write_bytes(kept)


@pytest.mark.slow
@pytest.mark.long
def test_ten_kills_and_power_cuts_at_random_moments_lose_nothing(tmp_path):
    study, chance, kills = tmp_path / "study", random.Random(20), {"driver": 0, "worker": 0}
    process = start(tmp_path, *OPTIONS, "--storage-path", str(tmp_path), "--name", "study")
    for target in itertools.islice(itertools.cycle(["driver", "worker"]), KILLS):
        if not wait_for_progress(process, study / "journal.jsonl", chance.uniform(0, 2)):
            break
        if target == "worker":
            if training := workers_of(process.pid):
                os.kill(chance.choice(training), signal.SIGKILL)
                kills[target] += 1
            continue
        process.kill()
        process.wait()
        kills[target] += 1
        cut(study / "journal.jsonl", chance)
        process = start(tmp_path, "--resume", str(study))
    assert process.wait(timeout=400) == 0, (tmp_path / "output.txt").read_text()
    assert kills["driver"] >= 3
    assert kills["worker"] >= 2
    check(study)


def check(directory: Path) -> None:
    frames = load_study(directory)
    assert len(frames.trials) == frames.trials["trial_id"].nunique() == TRIALS
    assert set(frames.trials["state"]) <= {"completed", "stopped"}
    assert set(frames.history["trial_id"]) == set(frames.trials["trial_id"])
    for trial_id, rows in frames.history.groupby("trial_id"):
        epochs = frames.trials.set_index("trial_id").loc[trial_id, "epochs"]
        assert list(rows["epoch"]) == list(range(1, epochs + 1)), trial_id
    opened = Study.open(directory)
    best, trials = opened.best(), opened.trials
    opened.close()
    for path in (directory / "checkpoints").glob("*/best.ckpt"):
        trial, params = trials[path.parent.name], checkpoint_value(path, CONFIG_KEY)
        assert {name: params[name] for name in active_params(trial.params)} == active_params(trial.params)
        assert checkpoint_row(path)["best_val_acc"] == trial.best_value
    again = evaluate(directory / "best.ckpt", "val")
    assert again["val_acc"] == pytest.approx(best.best_value, abs=1e-6)
    kept = {path.parent.name for path in (directory / "checkpoints").glob("*/*.ckpt")}
    assert len(kept) <= 5
    problems: list[str] = []
    assert check_study(directory, False, problems.append) == (0, 0), problems
