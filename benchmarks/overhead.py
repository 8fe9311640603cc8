"""What a trial costs above its own work: trials of one line that report three times.

    python benchmarks/overhead.py --trials 160 --rounds 3

Ours (journal, tables, checkpoint policy, study.db, TPE and ASHA all on) and plain Tune with reused actors and the same
searcher and scheduler run alternately, each round in a fresh process. Counted from the first end of a trial on, when
the workers are up, to the last; slot-seconds = wall time x slots / trials.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import tyro

REPORTS = 3


@dataclass(frozen=True, kw_only=True)
class Options:
    """Measure the bookkeeping of a search."""

    trials: int = 160
    """Trials of each search."""
    rounds: int = 3
    """Searches of each kind."""
    only: Literal["ours", "plain"] | None = None
    """Run one search of this kind and print its slot-seconds a trial."""


def objective(params: dict[str, Any]) -> None:
    """A trial without work: the value depends on two hyperparameters."""
    from ray import tune

    value = 1 - abs(params["dropout"] - 0.3) - abs(params["learning_rate"] - 1e-3)
    for epoch in range(1, REPORTS + 1):
        tune.report({"epoch": epoch, "best_val_acc": value * epoch / REPORTS})


def ours(trials: int, folder: Path) -> float:
    """Slot-seconds a trial of our search."""
    from inat.constants import RUNNING
    from inat.options import SearchConfig
    from inat.trials import Trial
    from inat.tuning import search

    config = SearchConfig(data="digits", num_samples=trials, max_epochs=REPORTS, storage_path=folder, name="study")
    study, space = search.open_study(config)
    ends: list[float] = []

    def note_end(trial: Trial) -> None:
        if trial.state != RUNNING:
            ends.append(time.monotonic())

    outcome = search.run(config, study, space, objective, listeners=[note_end])
    study.close()
    assert len(study.ended()) == trials
    assert outcome.slots
    return (ends[-1] - ends[0]) * outcome.slots.count / (trials - 1)


def plain(trials: int, folder: Path) -> float:
    """Slot-seconds a trial of Tune as documented, with reused actors, OptunaSearch and ASHA."""
    import ray
    from ray import tune
    from ray.tune.schedulers import ASHAScheduler
    from ray.tune.search.optuna import OptunaSearch

    from inat.tuning.spaces import small_space

    class Clock(tune.Callback):
        ends: list[float] = []

        def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
            self.ends.append(time.monotonic())

    slots = os.cpu_count() or 1
    ray.init(address="local", include_dashboard=False, logging_level="ERROR", log_to_driver=False)
    clock = Clock()
    tuner = tune.Tuner(
        objective,
        param_space=small_space(),
        tune_config=tune.TuneConfig(
            metric="best_val_acc", mode="max", num_samples=trials, reuse_actors=True, max_concurrent_trials=slots,
            search_alg=OptunaSearch(seed=0), scheduler=ASHAScheduler(time_attr="epoch", max_t=REPORTS, grace_period=3),
        ),
        run_config=tune.RunConfig(storage_path=str(folder), verbose=0, callbacks=[clock]),
    )  # fmt: skip
    tuner.fit()
    ray.shutdown()
    return (clock.ends[-1] - clock.ends[0]) * slots / (trials - 1)


def in_fresh_process(kind: Literal["ours", "plain"], trials: int) -> float:
    """Run one search in a new interpreter, so that no round inherits anything."""
    command = [sys.executable, __file__, "--only", kind, "--trials", str(trials)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    return float(done.stdout.splitlines()[-1])


def main() -> None:
    """Alternate both kinds and print medians and ranges."""
    options = tyro.cli(Options)
    if options.only:
        with tempfile.TemporaryDirectory() as folder:
            print({"ours": ours, "plain": plain}[options.only](options.trials, Path(folder)))
        return
    seconds: dict[Literal["ours", "plain"], list[float]] = {"ours": [], "plain": []}
    for number in range(options.rounds):
        for kind, values in seconds.items():
            values.append(in_fresh_process(kind, options.trials))
            print(f"round {number + 1} {kind}: {values[-1]:.4f} slot-seconds a trial", flush=True)
    ratios = [a / b for a, b in zip(seconds["ours"], seconds["plain"], strict=True)]
    print(f"{options.trials} trials, {REPORTS} reports each, {os.cpu_count()} slots")
    parts: dict[str, list[float]] = {"ours": seconds["ours"], "plain": seconds["plain"], "ratio": ratios}
    print("result: " + " ".join(
        f"{name}={statistics.median(values):.4f} {name}_min={min(values):.4f} {name}_max={max(values):.4f}"
        for name, values in parts.items()
    ))  # fmt: skip


if __name__ == "__main__":
    main()
