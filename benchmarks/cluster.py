"""Measure how much driver CPU a cluster costs, and how many trials one driver can handle.

    python benchmarks/cluster.py --lab 3                # trials/s and driver CPU on 1, 2, 3 hosts (the lab: as root)
    python benchmarks/cluster.py --load 500             # 500 trials at a time, each reports once per second
    python benchmarks/cluster.py --bookkeeping 1000     # 1,000 trials of 1 s, 16 at a time; Ray's test: 10,000

--lab starts Ray on the hosts of tests/cluster_lab, which share this machine's cores; each host offers one core. Trials
either only report three times, or also sleep 5 s in all. Searches alternate, --rounds times. --load and --bookkeeping
run on this machine, with trials that have no process (fake_trials.py) and inat's complete search: TPE, ASHA, journal,
tables, study.db. Driver CPU is that of the driver's process, in cores. "late" is the mean delay of a report beyond 1 s
after the one before.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import tyro
from measure import Numbers, hardware, print_report

ROOT = Path(__file__).parent.parent
LAB = ROOT / "tests" / "cluster_lab" / "lab.sh"
REPORTS = 3
RAY_CONCURRENT = 16  # as in Ray's release test of bookkeeping: 10,000 trials of 1 s in at most 715 s, on 16 cores
PORT = 6379


@dataclass(frozen=True, kw_only=True)
class Options:
    """Measure the driver of a search."""

    lab: int | None = None
    """Largest number of hosts in the lab."""
    rounds: int = 2
    """Searches per kind."""
    trials: int = 60
    """Trials of a search in the lab that only report."""
    slow_trials: int = 6
    """5-second trials per host of a search in the lab."""
    load: int | None = None
    """Trials at a time."""
    reports: int = 20
    """Reports per trial of --load."""
    bookkeeping: int | None = None
    """Number of trials of 1 s."""
    seconds: float | None = None
    """Internal, on the lab's head: run one search with trials of this many seconds."""
    storage: Path | None = None
    """Internal: folder of that search's study, shared by all hosts."""


class Stamp(NamedTuple):
    """When the driver recorded a report: the time and the driver's CPU time so far, in seconds."""

    time: float
    cpu: float
    trial_id: str


def objective(params: dict[str, Any]) -> None:
    """A trial that only reports."""
    from ray import tune

    for epoch in range(1, REPORTS + 1):
        tune.report({"epoch": epoch, "best_val_acc": epoch / REPORTS * (1 - params["dropout"])})


def slow_objective(params: dict[str, Any]) -> None:
    """A trial of 5 s."""
    from ray import tune

    for epoch in range(1, REPORTS + 1):
        time.sleep(5 / REPORTS)
        tune.report({"epoch": epoch, "best_val_acc": epoch / REPORTS * (1 - params["dropout"])})


def search_once(objective: Any, folder: Path, **changes: Any) -> Numbers:
    """Run one search; trials per second and driver CPU (cores), both between the first and the last end of a trial."""
    from inat.config.search import SearchConfig
    from inat.constants import RUNNING
    from inat.study.trial import Trial
    from inat.tuning import search

    config = SearchConfig(data="digits", storage_path=folder, name="study", **changes)
    study, space = search.open_study(config)
    ends: list[tuple[float, float]] = []
    started = time.monotonic()

    def note_end(trial: Trial) -> None:
        if trial.state != RUNNING:
            ends.append((time.monotonic(), cpu_seconds()))

    outcome = search.run(config, study, space, objective, callbacks=[note_end])
    study.close()
    assert len(study.ended()) == config.num_samples
    assert outcome.slots
    first, last = ends[0], ends[-1]
    seconds = last[0] - first[0]
    return {
        "trials": len(ends), "slots": outcome.slots.count, "wall": last[0] - started,
        "trials_per_s": (len(ends) - 1) / seconds if seconds else 0.0,
        "driver_cores": (last[1] - first[1]) / seconds if seconds else 0.0,
        "reports": sum(len(trial.history) for trial in study.trials.values()),
    }  # fmt: skip


def cpu_seconds() -> float:
    """CPU seconds of this process so far."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def load(options: Options) -> Numbers:
    """Run many trials at a time, each of which reports once per second."""
    from fake_trials import fake_trials

    count = options.load or 0
    stamps: list[Stamp] = []
    with tempfile.TemporaryDirectory() as folder, fake_trials(1.0, options.reports), watched(stamps):
        numbers = search_once(
            objective, Path(folder), num_samples=count, max_epochs=options.reports, grace_period=options.reports,
            cpus_per_trial=fraction(count), max_concurrent=count,
        )  # fmt: skip
    # The middle half, in which all trials run: none is starting or has ended.
    middle = stamps[len(stamps) // 4 : len(stamps) * 3 // 4]
    seconds, cpu = middle[-1].time - middle[0].time, middle[-1].cpu - middle[0].cpu
    before: dict[str, float] = {}
    gaps = []
    for stamp in middle:
        if stamp.trial_id in before:
            gaps.append(stamp.time - before[stamp.trial_id])
        before[stamp.trial_id] = stamp.time
    return {
        "trials": count, "wall": numbers["wall"], "reports_per_s": (len(middle) - 1) / seconds,
        "late_s": sum(gaps) / len(gaps) - 1, "driver_cores": cpu / seconds, "cpu_ms_a_report": cpu / len(middle) * 1e3,
    }  # fmt: skip


def watched(stamps: list[Stamp]) -> Any:
    """A context in which each report that the driver records appends to ``stamps``."""
    from unittest.mock import patch

    from inat.study.study import Study

    record = Study.add_epoch

    def add_epoch(self: Any, *args: Any, **kwargs: Any) -> None:
        record(self, *args, **kwargs)
        stamps.append(Stamp(time.monotonic(), cpu_seconds(), args[0]))

    return patch.object(Study, "add_epoch", add_epoch)


def bookkeeping(options: Options) -> Numbers:
    """Run many trials of 1 s with one report, as in Ray's release test, through inat's search."""
    from fake_trials import fake_trials

    count = options.bookkeeping or 0
    stamps: list[Stamp] = []
    with tempfile.TemporaryDirectory() as folder, fake_trials(1.0, 1), watched(stamps):
        numbers = search_once(
            objective, Path(folder), num_samples=count, max_epochs=1, grace_period=1,
            cpus_per_trial=fraction(RAY_CONCURRENT), max_concurrent=RAY_CONCURRENT,
        )  # fmt: skip
    ideal = count / RAY_CONCURRENT
    fifth = len(stamps) // 5
    first, last = (stamps[fifth : 2 * fifth], stamps[-fifth:])
    per_trial = [(part[-1].cpu - part[0].cpu) / len(part) * 1e3 for part in (first, last)]
    return {
        "trials": count, "wall": numbers["wall"], "over_ideal": numbers["wall"] / ideal,
        "driver_cores": numbers["driver_cores"], "cpu_ms_early": per_trial[0], "cpu_ms_late": per_trial[1],
    }  # fmt: skip


def fraction(count: int) -> float:
    """CPUs per trial so that ``count`` trials fit on this machine; Ray counts in units of 1/10,000."""
    return int((os.cpu_count() or 1) / count * 10_000) / 10_000


def in_lab(*arguments: str, check: bool = True) -> str:
    """Run lab.sh and return its output; exits if it fails and ``check`` is set."""
    done = subprocess.run([str(LAB), *arguments], capture_output=True, text=True, check=False)
    if check and done.returncode:
        sys.exit(f"lab.sh {' '.join(arguments)}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


def start_ray(hosts: int) -> None:
    """Start Ray on the first ``hosts`` hosts of the lab with one core each; host 1 is the head."""
    head = f"{os.environ.get('LAB_NET', '10.99.0')}.11"
    for host in range(1, hosts + 1):
        where = f"--head --port={PORT} --include-dashboard=false" if host == 1 else f"--address={head}:{PORT}"
        ray = f"{Path(sys.executable).parent}/ray"
        size = "--num-cpus=1 --object-store-memory=100000000 --disable-usage-stats"
        in_lab("ssh", str(host), f"rm -f ~/.ray/auth_token; {ray} stop --force; {ray} start {where} {size}")


def lab(options: Options) -> None:
    """Run searches on 1, 2, ... hosts of the lab, alternating."""
    assert options.lab
    up = in_lab("status", check=False)
    if not up:
        in_lab("up", str(options.lab))
    storage = Path(os.environ.get("LAB_STATE", "/var/tmp/cluster_lab")) / "shared"
    parts: dict[str, list[float]] = {}
    for number in range(options.rounds):
        for hosts in range(1, options.lab + 1):
            start_ray(hosts)
            for kind, seconds, trials in (("line", 0.0, options.trials), ("5s", 5.0, options.slow_trials * hosts)):
                with tempfile.TemporaryDirectory(dir=storage) as folder:
                    command = (
                        f"cd {ROOT} && PYTHONPATH={ROOT} RAY_AUTH_MODE=disabled {sys.executable} {__file__}"
                        f" --seconds {seconds} --trials {trials} --storage {folder}"
                    )
                    numbers = json.loads(in_lab("ssh", "1", command).splitlines()[-1])
                print(f"round {number + 1}: {hosts} hosts, {kind}: {numbers}", flush=True)
                for name in ("trials_per_s", "driver_cores"):
                    parts.setdefault(f"{kind}_{hosts}_{name}", []).append(numbers[name])
    for host in range(1, options.lab + 1):
        in_lab("ssh", str(host), f"{Path(sys.executable).parent}/ray stop --force")
    if not up:
        in_lab("down")
    print_report(parts)


def main() -> None:
    """Run the measurements that the options name."""
    options = tyro.cli(Options)
    if options.seconds is not None:
        assert options.storage
        chosen = slow_objective if options.seconds else objective
        numbers = search_once(
            chosen, options.storage, address="auto", num_samples=options.trials, max_epochs=REPORTS,
            grace_period=REPORTS, gpus_per_trial=0.0,
        )  # fmt: skip
        print(json.dumps(numbers))
        return
    print(f"{hardware()}\n{options}", flush=True)
    if options.lab:
        lab(options)
    for wanted, measure in ((options.load, load), (options.bookkeeping, bookkeeping)):
        if wanted:
            print_report({name: [value] for name, value in measure(options).items()})


if __name__ == "__main__":
    main()
