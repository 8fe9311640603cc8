"""What a cluster costs the driver, and how far one driver goes.

    python benchmarks/cluster.py --lab 3                # trials/s and driver CPU on 1, 2, 3 hosts (the lab: as root)
    python benchmarks/cluster.py --load 500             # so many trials at a time that report once a second
    python benchmarks/cluster.py --bookkeeping 1000     # so many trials of one second, 16 at a time; Ray's test: 10,000

--lab starts Ray on the hosts of tests/cluster_lab, which share this machine's cores: each offers one. Trials either do
nothing but report three times, or sleep 5 s. Searches alternate, --rounds times. --load and --bookkeeping run on one
machine, with trials that have no process of their own (fake_trials.py) and a search that is ours throughout: TPE,
ASHA, journal, tables, study.db. Driver CPU is the driver's own process, in cores; "late" is how much more than a second
passes between two reports of a trial, on average.
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
RAY_CONCURRENT = 16  # of Ray's release test for bookkeeping: 10,000 trials of 1 s in at most 715 s, on 16 cores
PORT = 6379


@dataclass(frozen=True, kw_only=True)
class Options:
    """Measure a search's driver."""

    lab: int | None = None
    """Hosts of the lab, at most."""
    rounds: int = 2
    """Searches of each kind."""
    trials: int = 60
    """One-line trials of a search in the lab."""
    slow_trials: int = 6
    """5-second trials of a search in the lab, for each host."""
    load: int | None = None
    """Trials at a time."""
    reports: int = 20
    """Reports of each trial of --load."""
    bookkeeping: int | None = None
    """Trials of one second."""
    seconds: float | None = None
    """In the lab, on the head: search once, with trials that take so long."""
    storage: Path | None = None
    """Folder of its study, which all hosts see."""


class Stamp(NamedTuple):
    """When the driver recorded a report of a trial: clock, and its CPU time so far, in seconds."""

    time: float
    cpu: float
    trial_id: str


def objective(params: dict[str, Any]) -> None:
    """A trial of the lab that does nothing but report."""
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
    """Run one search; trials/s between the first end and the last, driver CPU in cores over the same time."""
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
    """CPU time of this process so far."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def load(options: Options) -> Numbers:
    """Many trials at a time that report once a second."""
    from fake_trials import fake_trials

    count = options.load or 0
    stamps: list[Stamp] = []
    with tempfile.TemporaryDirectory() as folder, fake_trials(1.0, options.reports), watched(stamps):
        numbers = search_once(
            objective, Path(folder), num_samples=count, max_epochs=options.reports, grace_period=options.reports,
            cpus_per_trial=fraction(count), max_concurrent=count,
        )  # fmt: skip
    # The middle half: all trials are running, none is being made or has ended.
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
    """Within it, each report that the driver records leaves its time and CPU time in ``stamps``."""
    from unittest.mock import patch

    from inat.study.study import Study

    record = Study.add_epoch

    def add_epoch(self: Any, *args: Any, **kwargs: Any) -> None:
        record(self, *args, **kwargs)
        stamps.append(Stamp(time.monotonic(), cpu_seconds(), args[0]))

    return patch.object(Study, "add_epoch", add_epoch)


def bookkeeping(options: Options) -> Numbers:
    """Many trials of one second with one report, as Ray's release test has them, through our search."""
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
    """CPUs a trial, so that ``count`` of them fit this machine: Ray counts in 1/10,000."""
    return int((os.cpu_count() or 1) / count * 10_000) / 10_000


def in_lab(*arguments: str, check: bool = True) -> str:
    """What lab.sh prints."""
    done = subprocess.run([str(LAB), *arguments], capture_output=True, text=True, check=False)
    if check and done.returncode:
        sys.exit(f"lab.sh {' '.join(arguments)}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


def start_ray(hosts: int) -> None:
    """Ray on the first ``hosts`` of the lab, host 1 as head; one core each."""
    head = f"{os.environ.get('LAB_NET', '10.99.0')}.11"
    for host in range(1, hosts + 1):
        where = f"--head --port={PORT} --include-dashboard=false" if host == 1 else f"--address={head}:{PORT}"
        ray = f"{Path(sys.executable).parent}/ray"
        size = "--num-cpus=1 --object-store-memory=100000000 --disable-usage-stats"
        in_lab("ssh", str(host), f"rm -f ~/.ray/auth_token; {ray} stop --force; {ray} start {where} {size}")


def lab(options: Options) -> None:
    """Searches on 1, 2, ... hosts of the lab, alternating."""
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
    """Run what was asked for."""
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
