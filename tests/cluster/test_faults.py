"""Hosts of a cluster die, lose the network or lose their disk during a search; no trial and no result is lost."""

import json
import os
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from analysis.study import load_study
from inat.training.evaluation import evaluate
from tests.cluster.conftest import Cluster, wait_until

pytestmark = pytest.mark.slow
TRIALS, EPOCHS = 24, 9
# Every trial runs all its epochs, so the cost of a fault shows in the time.
OPTIONS = ("--data", "digits", "--image-size", "16", "--num-samples", str(TRIALS), "--max-epochs", str(EPOCHS),
           "--grace-period", str(EPOCHS), "--patience", str(EPOCHS))  # fmt: skip
FAULT_AT = 6  # number of ended trials at which the fault happens
LIMIT = 500


@dataclass
class Run:
    """One search on the cluster, with notes for the table of faults."""

    cluster: Cluster
    name: str
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.study = self.cluster.results / self.name
        self.started = time.monotonic()
        self.process = self.cluster.search(*OPTIONS, "--name", self.name, output=f"{self.name}.txt")

    def until_ended(self, count: int) -> None:
        wait_until(lambda: self.ended() >= count or self.process.poll() is not None, LIMIT, f"{count} ended trials")
        assert self.process.poll() is None, self.printed()

    def resume(self) -> None:
        self.process = self.cluster.search("--resume", f"results/{self.name}", output=f"{self.name}.txt")

    def finish(self) -> float:
        """Wait for the end of the search, check the study, write its row of the table; returns the seconds it took."""
        code = self.process.wait(timeout=LIMIT)
        seconds = time.monotonic() - self.started
        assert code == 0, self.printed()
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

    def printed(self) -> str:
        """The output of the search, resumed parts included."""
        return (self.cluster.lab.state / f"{self.name}.txt").read_text()

    def next_epoch_on(self, host: int) -> float:
        """Wait until a host reports an epoch; returns the seconds."""
        before = self.epochs_on(host)
        return wait_until(lambda: self.epochs_on(host) > before, 120, f"an epoch on host {host}")

    def comes_back(self, host: int) -> None:
        """Boot a host; note how long it takes to join and to report its first epoch."""
        self.cluster.lab.do("boot", str(host))
        joined = f"node lab{host} has joined"
        seconds = wait_until(lambda: joined in self.printed(), 120, joined)
        first = self.next_epoch_on(host)
        self.notes.append(f"joined {seconds:.0f} s after it was booted, first epoch {first:.0f} s later")


def repeated_epochs(events: list[dict]) -> dict[str, int]:
    """For each trial the number of epochs that it reported again after having reported them before."""
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
    """Check that all trials are complete, each with every epoch once, and that best.ckpt matches best.json."""
    frames = load_study(directory)
    assert len(frames.trials) == frames.trials["trial_id"].nunique() == TRIALS
    assert set(frames.trials["state"]) == {"completed"}
    for trial_id, rows in frames.history.groupby("trial_id"):
        assert list(rows["epoch"]) == list(range(1, EPOCHS + 1)), trial_id
    best = json.loads((directory / "best.json").read_text())
    assert best["best_val_acc"] == frames.trials["best_val_acc"].max()
    assert evaluate(directory / "best.ckpt", "val")["val_acc"] == pytest.approx(best["best_val_acc"], abs=1e-6)


def note(name: str, seconds: float, repeated: dict[str, int], notes: list[str]) -> None:
    """Append a row to the file that INAT_FAULT_TABLE names, if it is set."""
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
    wait_until(lambda: len(cluster.nodes()) == 3, 180, "all nodes are back after the last fault")
    return Run(cluster, request.node.name.removeprefix("test_"))


def test_undisturbed(run):
    run.finish()


def test_a_worker_killed_and_booted(run):
    run.until_ended(FAULT_AT)
    run.cluster.lab.do("kill", "3")
    time.sleep(5)
    run.comes_back(3)
    run.finish()


def test_b_worker_crashed_cable_first(run):
    run.until_ended(FAULT_AT)
    run.cluster.lab.do("crash", "3")
    time.sleep(5)
    run.comes_back(3)
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
    run.cluster.lab.run(
        1, "pkill", "-KILL", "-f", "slow_search.py"
    )  # kills on host 1 only: each host has its own processes
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
        assert f"{run.cluster.lab.name(3)} takes no trials: " in run.printed()
    finally:
        run.cluster.lab.do("rw", "3")
    run.notes.append(f"trials on the repaired host after {run.next_epoch_on(3):.0f} s")
    run.finish()


def test_g_shared_disk_full(run):
    run.until_ended(FAULT_AT)
    run.cluster.lab.do("fill")
    try:
        assert run.process.wait(timeout=LIMIT) != 0
        assert "is full; everything up to here is kept" in run.printed()
    finally:
        run.cluster.lab.do("drain")
    run.resume()
    run.finish()
