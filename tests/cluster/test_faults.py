"""Hosts of a real cluster die, are cut off or lose their disk in the middle of a search: nothing is lost or wrong."""

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from analysis.study import load_study
from inat.evaluation import evaluate
from tests.cluster.conftest import Cluster, wait_until

pytestmark = pytest.mark.slow
TRIALS, EPOCHS = 24, 9
# Every trial runs all its epochs, so that what a fault costs can be seen in the time.
OPTIONS = ("--data", "digits", "--image-size", "16", "--num-samples", str(TRIALS), "--max-epochs", str(EPOCHS),
           "--grace-period", str(EPOCHS), "--patience", str(EPOCHS))  # fmt: skip
FAULT_AT = 6  # ended trials
LIMIT = 500


@dataclass
class Run:
    """One search: its study, when it started, and what is to be said of it in the table."""

    cluster: Cluster
    name: str
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.study = self.cluster.results / self.name
        self.started = time.monotonic()
        self.process = self.cluster.search(*OPTIONS, "--name", self.name)

    def until_ended(self, count: int) -> None:
        wait_until(lambda: self.ended() >= count or self.process.poll() is not None, LIMIT, f"{count} ended trials")
        assert self.process.poll() is None, self.said()

    def resume(self) -> None:
        self.process = self.cluster.search("--resume", f"results/{self.name}")

    def finish(self) -> float:
        """Wait for the end, check the study, write the table's row; the seconds it took."""
        code = self.process.wait(timeout=LIMIT)
        seconds = time.monotonic() - self.started
        assert code == 0, self.said()
        check(self.study)
        repeated = repeated_epochs(self.events())
        note(self.name, seconds, repeated, self.notes)
        assert max(repeated.values(), default=0) <= 1, repeated
        return seconds

    def events(self) -> list[dict]:
        journal = self.study / "journal.jsonl"
        lines = journal.read_text().splitlines(keepends=True) if journal.exists() else []
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def ended(self) -> int:
        return sum(event["event"] == "end" for event in self.events())

    def epochs_on(self, host: int) -> int:
        return sum(event["event"] == "epoch" and event["node"] == f"lab{host}" for event in self.events())

    def said(self) -> str:
        return (self.cluster.results / "output.txt").read_text()[-3000:]

    def watch_for(self, what: str, host: int) -> Callable[[], None]:
        """Call it to wait for a host's next epoch, and note how long that took from now on."""
        before, started = self.epochs_on(host), time.monotonic()

        def wait() -> None:
            wait_until(lambda: self.epochs_on(host) > before, 120, f"an epoch on host {host}")
            self.notes.append(f"{what} after {time.monotonic() - started:.0f} s")

        return wait


def repeated_epochs(events: list[dict]) -> dict[str, int]:
    """Epochs that a trial reported though it had reported them before, by trial."""
    reached: dict[str, int] = {}
    repeated: dict[str, int] = {}
    for event in events:
        if event["event"] == "epoch":
            trial, epoch = event["trial_id"], event["row"]["epoch"]
            if epoch <= reached.get(trial, 0):
                repeated[trial] = repeated.get(trial, 0) + 1
            reached[trial] = max(epoch, reached.get(trial, 0))
    return repeated


def check(directory: Path) -> None:
    """Exactly the trials asked for, none failed, each with every epoch once, and best.ckpt is what best.json says."""
    frames = load_study(directory)
    assert len(frames.trials) == frames.trials["trial_id"].nunique() == TRIALS
    assert set(frames.trials["state"]) == {"completed"}
    for trial_id, rows in frames.history.groupby("trial_id"):
        assert list(rows["epoch"]) == list(range(1, EPOCHS + 1)), trial_id
    best = json.loads((directory / "best.json").read_text())
    assert best["best_val_acc"] == frames.trials["best_val_acc"].max()
    assert evaluate(directory / "best.ckpt", "val")["val_acc"] == pytest.approx(best["best_val_acc"], abs=1e-6)


def note(name: str, seconds: float, repeated: dict[str, int], notes: list[str]) -> None:
    """A row for the report, where INAT_FAULT_TABLE names a file."""
    if table := os.environ.get("INAT_FAULT_TABLE"):
        with open(table, "a") as file:
            row = {
                "fault": name,
                "seconds": round(seconds, 1),
                "epochs_repeated": sum(repeated.values()),
                "notes": notes,
            }
            file.write(json.dumps(row) + "\n")


@pytest.fixture
def run(cluster, request):
    wait_until(lambda: len(cluster.nodes()) == 3, 180, "all machines are back from the last fault")
    return Run(cluster, request.node.name.removeprefix("test_"))


def test_undisturbed(run):
    run.finish()


def test_a_worker_killed_and_booted(run):
    run.until_ended(FAULT_AT)
    run.cluster.lab.do("kill", "3")
    time.sleep(5)
    run.cluster.lab.do("boot", "3")
    run.watch_for("trials on the booted host", 3)()
    run.finish()


def test_b_worker_crashed_cable_first(run):
    run.until_ended(FAULT_AT)
    run.cluster.lab.do("crash", "3")
    time.sleep(5)
    run.cluster.lab.do("boot", "3")
    run.watch_for("trials on the booted host", 3)()
    run.finish()


@pytest.mark.parametrize("seconds", [20, 90])
def test_c_partition(run, seconds):
    run.until_ended(FAULT_AT)
    run.cluster.lab.do("cut", "3")
    time.sleep(seconds)
    run.cluster.lab.do("heal", "3")
    run.finish()


def test_d_driver_killed(run):
    run.until_ended(FAULT_AT)
    run.cluster.lab.run(1, "pkill", "-KILL", "-f", "slow_search.py")  # the host's own: other hosts' are not seen
    run.process.wait()
    run.resume()
    run.finish()


def test_e_head_killed(run):
    run.until_ended(FAULT_AT)
    run.cluster.lab.do("kill", "1")
    run.process.wait()
    run.cluster.lab.do("boot", "1")
    run.cluster.laptop(f"ray up -y {run.cluster.yaml}")
    run.resume()
    run.finish()


def test_f_worker_whose_shared_folder_becomes_read_only(run):
    run.until_ended(FAULT_AT)
    run.cluster.lab.do("ro", "3")
    try:
        run.until_ended(FAULT_AT + 9)
        assert "lab3 takes no trials: " in run.said()
    finally:
        run.cluster.lab.do("rw", "3")
    run.watch_for("trials again on the mended host", 3)()
    run.finish()


def test_g_shared_disk_full(run):
    run.until_ended(FAULT_AT)
    run.cluster.lab.do("fill")
    try:
        assert run.process.wait(timeout=LIMIT) != 0
        assert "is full; everything up to here is kept" in run.said()
    finally:
        run.cluster.lab.do("drain")
    run.resume()
    run.finish()
