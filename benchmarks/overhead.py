"""Measure the overhead of a search beyond its trainings.

    python benchmarks/overhead.py --trials 200 --rounds 3     # (a) trials that only report three times
    python benchmarks/overhead.py --digits 480                # (b) real trials on the built-in digits
    python benchmarks/overhead.py --events 500                # (c) only the journal and the tables
    python benchmarks/overhead.py --suggest 10000             # (d) only the searcher, after up to so many trials

(a) Slot-seconds per trial: wall time x slots / trials, from the first end of a trial, when the workers are up, to the
last. "inat" is a search with journal, tables, checkpoint retention, study.db, TPE and ASHA. "reused" is Tune with
reused actors, OptunaSearch, ASHA and its default loggers. "documented" is the same as in Tune's examples, with a new
actor per trial (only --documented-trials trials, since each takes seconds). "optuna" is one Optuna process per core on
one journal file, without scheduler, checkpoints and recovery. The sides alternate, each round in a fresh process.
(b) Wall time of the search divided by the sum of its trainings' seconds / slots.
(c) Seconds of the driver per trial for the events of its life, with what waits for the disk; and those of one wait.
(d) Milliseconds of processor time per trial, for its suggestion by TPE and for the rest of its life in study and
searcher, after 100, 1,000, 5,000 and 10,000 trials of random configurations; seconds to open and resume the largest.
"""

import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import tyro
from measure import hardware, in_fresh_process, print_report, ratios, result_line, spread

REPORTS = 3
SUGGESTED = 20  # trials at each count of --suggest
Kind = Literal["inat", "reused", "documented", "optuna"]


@dataclass(frozen=True, kw_only=True)
class Options:
    """Measure the bookkeeping of a search."""

    trials: int = 200
    """Trials per search."""
    documented_trials: int = 12
    """Trials per search with a new actor per trial."""
    rounds: int = 3
    """Searches per kind."""
    digits: int | None = None
    """Run one real search with this number of trials instead."""
    events: int | None = None
    """Only write the events of this number of trials."""
    suggest: int | None = None
    """Only suggest, with up to this number of ended trials."""
    only: Kind | None = None
    """Run one search of this kind and print its slot-seconds per trial."""


def value_of(params: dict[str, Any], epoch: int) -> float:
    """The value that a trial reports; it depends on two hyperparameters."""
    return float(1 - abs(params["dropout"] - 0.3) - abs(params["learning_rate"] - 1e-3)) * epoch / REPORTS


def objective(params: dict[str, Any]) -> None:
    """A trial that only reports."""
    from ray import tune

    for epoch in range(1, REPORTS + 1):
        tune.report({"epoch": epoch, "best_val_acc": value_of(params, epoch)})


def inat_search(trials: int, folder: Path) -> float:
    """Slot-seconds per trial of inat's search."""
    from inat.config.search import SearchConfig
    from inat.constants import RUNNING
    from inat.study.trial import Trial
    from inat.tuning import search

    config = SearchConfig(data="digits", num_samples=trials, max_epochs=REPORTS, storage_path=folder, name="study")
    study, space = search.open_study(config)
    ends: list[float] = []

    def note_end(trial: Trial) -> None:
        if trial.state != RUNNING:
            ends.append(time.monotonic())

    outcome = search.run(config, study, space, objective, callbacks=[note_end])
    study.close()
    assert len(study.ended()) == trials
    assert outcome.slots
    return (ends[-1] - ends[0]) * outcome.slots.count / (trials - 1)


def tune_search(trials: int, folder: Path, reuse: bool) -> float:
    """Slot-seconds per trial of Tune with OptunaSearch and ASHA."""
    import ray
    from ray import tune
    from ray.tune.schedulers import ASHAScheduler
    from ray.tune.search.optuna import OptunaSearch

    from inat.tuning.space.presets import small_space

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
            metric="best_val_acc", mode="max", num_samples=trials, reuse_actors=reuse, max_concurrent_trials=slots,
            search_alg=OptunaSearch(seed=0), scheduler=ASHAScheduler(time_attr="epoch", max_t=REPORTS, grace_period=3),
        ),
        run_config=tune.RunConfig(storage_path=str(folder), verbose=0, callbacks=[clock]),
    )  # fmt: skip
    tuner.fit()
    ray.shutdown()
    return (clock.ends[-1] - clock.ends[0]) * slots / (trials - 1)


def tune_with_reused_actors(trials: int, folder: Path) -> float:
    """Slot-seconds per trial of Tune with reused actors."""
    return tune_search(trials, folder, reuse=True)


def tune_as_documented(trials: int, folder: Path) -> float:
    """Slot-seconds per trial of Tune with a new actor per trial."""
    return tune_search(trials, folder, reuse=False)


def optimise(journal: str, trials: int, start: Any, ends: Any) -> None:
    """The work of one Optuna process."""
    import optuna
    from optuna.storages.journal import JournalFileBackend

    from inat.tuning.space.presets import small_space

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    choices = {name: domain.categories for name, domain in small_space().items()}
    storage = optuna.storages.JournalStorage(JournalFileBackend(journal))
    study = optuna.create_study(storage=storage, study_name="study", direction="maximize", load_if_exists=True)

    def one(trial: optuna.Trial) -> float:
        params = {name: trial.suggest_categorical(name, values) for name, values in choices.items()}
        for epoch in range(1, REPORTS + 1):
            trial.report(value_of(params, epoch), epoch)
        return value_of(params, REPORTS)

    start.wait()
    for _ in range(trials):
        study.optimize(one, n_trials=1)
        ends.put(time.monotonic())


def optuna_processes(trials: int, folder: Path) -> float:
    """Slot-seconds per trial of one Optuna process per core."""
    slots = os.cpu_count() or 1
    context = multiprocessing.get_context("spawn")
    start, ends = context.Barrier(slots), context.Queue()
    arguments = (str(folder / "journal.log"), trials // slots, start, ends)
    processes = [context.Process(target=optimise, args=arguments) for _ in range(slots)]
    for process in processes:
        process.start()
    times = sorted(ends.get() for _ in range(slots * (trials // slots)))
    for process in processes:
        process.join()
    return float(times[-1] - times[0]) * slots / (len(times) - 1)


MEASUREMENTS: dict[Kind, Callable[[int, Path], float]] = {
    "inat": inat_search,
    "reused": tune_with_reused_actors,
    "documented": tune_as_documented,
    "optuna": optuna_processes,
}


def real_search(trials: int) -> None:
    """Search on the digits as the command does; compare its wall time with the time of its trainings."""
    from inat.config.search import SearchConfig
    from inat.tuning import search

    with tempfile.TemporaryDirectory() as folder:
        started = time.monotonic()
        config = SearchConfig(data="digits", image_size=16, num_samples=trials, storage_path=Path(folder), name="study")
        study, space = search.open_study(config)
        outcome = search.run(config, study, space)
        study.close()
        wall = time.monotonic() - started
    assert outcome.slots
    training = sum(trial.seconds for trial in study.ended()) / outcome.slots.count
    states = [trial.state for trial in study.ended()]
    print({state: states.count(state) for state in sorted(set(states))}, f"{outcome.slots.count} slots")
    print(f"wall {wall:.1f} s, {outcome.seconds:.1f} s of it after Ray's start; trainings {training:.1f} s per slot")
    print(result_line({"wall": [wall], "over_training": [wall / training], "search": [outcome.seconds / training]}))


def write_events(trials: int) -> None:
    """Write the events of trials as a search does, without Ray; they arrive as fast as they are written."""
    from inat.study.study import Study

    with tempfile.TemporaryDirectory(dir=".") as folder:
        study = Study.create(Path(folder) / "study", {"config": {}})
        started, cpu = time.monotonic(), time.process_time()
        for number in range(trials):
            trial_id = study.add_trial({"x": number, "learning_rate": 1e-3}).trial_id
            for epoch in range(1, REPORTS + 1):
                row = {"epoch": epoch, "best_val_acc": 0.5, "train_loss": 1.0, "val_acc": 0.5, "seconds": 0.1 * number}
                study.add_epoch(trial_id, row)
            study.end_trial(trial_id, "completed")
        wall, cpu = time.monotonic() - started, time.process_time() - cpu
        with (Path(folder) / "probe").open("wb") as probe:
            waits = []
            for _ in range(20):
                probe.write(bytes(500))
                probe.flush()
                before = time.monotonic()
                os.fsync(probe.fileno())
                waits.append(time.monotonic() - before)
        study.close()
    print(result_line({"wall": [wall / trials], "cpu": [cpu / trials], "one_wait": sorted(waits)}))


def suggest_after(most: int) -> None:
    """Fill a study with ended trials; at several counts, suggest, report and end SUGGESTED trials of each."""
    import random

    from inat.study.study import Study
    from inat.tuning.rungs import Rungs
    from inat.tuning.sampling.options import SearcherOptions
    from inat.tuning.sampling.searcher import BudgetAwareOptunaSearch
    from inat.tuning.space.grid import grid_of
    from inat.tuning.space.presets import small_space

    space, options = small_space(), SearcherOptions(rungs=Rungs(REPORTS, REPORTS, 27))
    left = grid_of(space)
    random.Random(0).shuffle(left)
    parts: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        study = Study.create(Path(folder) / "study", {"config": {}})
        for count in sorted({100, 1_000, 5_000, 10_000, most}):
            if count > most:
                break
            while len(study.trials) < count:
                live_and_end(study, study.add_trial(left.pop()).trial_id, lambda trial: None)
            opened = time.process_time()
            searcher = BudgetAwareOptunaSearch(study, space, options)
            parts[f"resume_s_{count}"] = [time.process_time() - opened]
            for _ in range(SUGGESTED):
                started = time.process_time()
                trial_id = searcher.next_trial_id()
                searcher.suggest(trial_id)
                suggested = time.process_time()
                live_and_end(study, trial_id, searcher.on_trial_update)
                ended = time.process_time()
                parts.setdefault(f"suggest_ms_{count}", []).append((suggested - started) * 1e3)
                parts.setdefault(f"rest_ms_{count}", []).append((ended - suggested) * 1e3)
        study.close()
        opened = time.process_time()
        Study.open(study.directory).close()
        parts["open_s"] = [time.process_time() - opened]
    print_report(parts)


def live_and_end(study: Any, trial_id: str, on_update: Callable[[Any], object]) -> None:
    """Report a trial and end it: four of five are stopped at the first rung, the others have 27 epochs."""
    trial = study.trials[trial_id]
    completed = trial.number % 5 == 0
    for epoch in range(1, 28 if completed else REPORTS + 1):
        value = value_of(trial.params, REPORTS) * (1 - 0.5**epoch)
        study.add_epoch(trial_id, {"epoch": epoch, "best_val_acc": value, "val_acc": value, "seconds": 1.0})
        on_update(trial)
    study.end_trial(trial_id, "completed" if completed else "stopped")
    on_update(trial)


def main() -> None:
    """Alternate the kinds, print medians and ranges, then the result line."""
    options = tyro.cli(Options)
    if options.only:
        trials = options.documented_trials if options.only == "documented" else options.trials
        with tempfile.TemporaryDirectory() as folder:
            print(MEASUREMENTS[options.only](trials, Path(folder)))
        return
    print(f"{hardware()}\n{options}")
    if options.events:
        write_events(options.events)
        return
    if options.suggest:
        suggest_after(options.suggest)
        return
    if options.digits:
        real_search(options.digits)
        return
    seconds: dict[str, list[float]] = {kind: [] for kind in MEASUREMENTS}
    counts = ("--trials", str(options.trials), "--documented-trials", str(options.documented_trials))
    for number in range(options.rounds):
        for kind, values in seconds.items():
            values.append(float(in_fresh_process(__file__, "--only", kind, *counts)))
            print(f"round {number + 1} {kind}: {values[-1]:.4f} slot-seconds per trial", flush=True)
    seconds |= {f"inat_over_{kind}": ratios(seconds["inat"], seconds[kind]) for kind in list(seconds)[1:]}
    for name, values in seconds.items():
        print(f"{name:20} {spread(values)}")
    print(result_line(seconds))


if __name__ == "__main__":
    main()
