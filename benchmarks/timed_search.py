"""A search as a user types it, within a time budget; for benchmarks/accuracy.py."""

import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from processor_time import ProcessorTime

ROOT = Path(__file__).resolve().parents[1]
STUDY = "study"


@contextmanager
def on_cores(count: int | None) -> Iterator[None]:
    """Let this thread, and the commands that it starts meanwhile, use ``count`` of its cores; None means all of them.

    Where the system cannot do that, as on macOS, all cores are used.
    """
    if count is None or not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(before)[:count])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def search(data: Path, cache_dir: Path, budget: int, given: Sequence[object], test: bool) -> dict[str, Any]:
    """Search for ``budget`` seconds with the options ``given``, one trial at a time; the numbers of the best trial.

    "seconds" and "cpu" are those of the whole command, with the start of Ray, the test of the best trial and the
    report. Copies of photos may be on two sides of the split, as in the other trainings of the benchmark.
    """
    with tempfile.TemporaryDirectory() as storage:
        command = [
            sys.executable, str(ROOT / "tune_scratch.py"), "--data", str(data), "--time-budget", f"{budget}s",
            *map(str, given), "--max-concurrent", "1", "--keep-duplicates", "--cache-dir", str(cache_dir),
            "--storage-path", storage, "--name", STUDY,
        ]  # fmt: skip
        started = time.monotonic()
        with ProcessorTime() as processor:
            done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
        seconds = time.monotonic() - started
        study = Path(storage) / STUDY
        if done.returncode or not (study / "best.json").exists():
            sys.exit(f"{done.stdout}{done.stderr}")
        best = json.loads((study / "best.json").read_text(encoding="utf-8"))
        with (study / "trials.csv").open(encoding="utf-8", newline="") as file:
            trials = len(list(csv.DictReader(file)))
    row = {"val": best["best_val_acc"], "seconds": seconds, "cpu": processor.seconds, "epochs": best["epochs"],
           "trials": trials, "budget": budget, "chosen": best["params"]}  # fmt: skip
    return row | ({"test": best["test"]["test_acc"]} if test else {})
