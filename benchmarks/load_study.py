"""Measure the time and memory that a large study takes to load, for each kind of files.

    python benchmarks/load_study.py
    python benchmarks/load_study.py --trials 1000 --tune-trials 100 --rounds 1      # a quick look

The script writes studies with made-up values into a temporary folder, so their files are in the page cache. Each round
loads each of them in a fresh process. Kinds:
  inat      a study directory with --trials trials, written by inat.study.study
  tune      a Tune directory with --tune-trials trials: params.json, result.json and progress.csv per trial, one
            experiment_state-*.json, 15 hyperparameters, lines of about 800 bytes
  optuna    an SQLite database with --trials trials
  wandb     a CSV file with --trials runs
"_s": seconds of load_study alone. "_mb": peak resident memory of the process in MB (10^6 bytes), libraries included.
"import_s": seconds to import analysis.study.
"""

import csv
import itertools
import json
import random
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import tyro
from measure import Numbers, alternate, print_report

Kind = Literal["inat", "tune", "optuna", "wandb"]
CHOICES: dict[str, list[Any]] = {
    "first_layer_filters": [32, 64, 128], "filter_org": [0.5, 1, 2], "conv_layers": [3, 4, 5],
    "activation": ["relu", "gelu", "silu", "mish"], "dropout": [0.2, 0.3], "batch_norm": [True, False],
    "batch_size": [32, 64], "learning_rate": [1e-2, 1e-3, 1e-4], "use_augmentation": [True, False],
    "num_neurons_dense": [128, 256, 512],
}  # fmt: skip
FIXED = {"data": "/data/inaturalist_12K", "image_size": 224, "optimizer": {"name": "adam", "betas": [0.9, 0.999]}}
START = 1_795_553_488  # seconds since 1970


@dataclass(frozen=True, kw_only=True)
class Options:
    """Measure loading."""

    trials: int = 10_000
    tune_trials: int = 1_000
    epochs: int = 30
    rounds: int = 5
    folder: Path | None = None
    """With --only: folder of the studies."""
    only: Kind | None = None
    """Load the study of this kind and print the numbers."""


def configs(count: int) -> Iterator[dict[str, Any]]:
    """Random hyperparameters of ``count`` trials, the same in every run."""
    draw = random.Random(0)
    return ({name: draw.choice(values) for name, values in CHOICES.items()} for _ in range(count))


def epochs_of(number: int, epochs: int) -> Iterator[dict[str, Any]]:
    """The rows of a trial whose accuracy grows towards 0.4."""
    draw, best = random.Random(number), 0.0
    for epoch in range(1, epochs + 1):
        accuracy = 0.4 * epoch / (epoch + 5) + 0.05 * draw.random()
        best = max(best, accuracy)
        yield {"epoch": epoch, "train_loss": 2 - accuracy, "train_acc": accuracy + 0.1 * draw.random(),
               "val_loss": 2.1 - accuracy, "val_acc": accuracy, "best_val_acc": best,
               "seconds": 10 * draw.random()}  # fmt: skip


def write_study_directory(folder: Path, options: Options) -> None:
    """Write a study directory as a search does, with all trials completed."""
    from inat.study.study import Study

    study = Study.create(folder / "inat", {"config": {}})
    for number, params in enumerate(configs(options.trials)):
        trial = study.add_trial(params)
        for row in epochs_of(number, options.epochs):
            study.add_epoch(trial.trial_id, row | {"trainable_parameters": 1_000_000}, "node")
        study.end_trial(trial.trial_id, "completed")
    study.close()


def write_tune(folder: Path, options: Options) -> None:
    """Write a Tune directory as Tune's JSON and CSV loggers do."""
    directory = folder / "tune"
    directory.mkdir()
    states = []
    for number, params in enumerate(configs(options.tune_trials)):
        trial_id, config = f"d128a_{number:05d}", FIXED | params
        path = directory / f"train_{trial_id}_{number}_2026-11-24_20-51-28"
        path.mkdir()
        lines = [tune_result(row, trial_id, config) for row in epochs_of(number, options.epochs)]
        (path / "params.json").write_text(json.dumps(config, indent=2), encoding="utf-8")
        (path / "result.json").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
        with (path / "progress.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, [name for name in lines[0] if name != "config"], extrasaction="ignore")
            writer.writeheader()
            writer.writerows(lines)
        state = {"trial_id": trial_id, "config": config, "status": "TERMINATED", "relative_logdir": path.name,
                 "experiment_tag": f"{number}_lr={params['learning_rate']}", "stopping_criterion": {},
                 "storage": {"_type": "CLOUDPICKLE_FALLBACK", "value": "80" * 700}}  # fmt: skip
        analysis = {name: dict.fromkeys(("max", "min", "avg", "last", "last-5-avg", "last-10-avg"), value)
                    for name, value in lines[-1].items() if isinstance(value, float)}  # fmt: skip
        runtime = {"start_time": START + number, "last_result": lines[-1] | {"done": True}, "metric_analysis": analysis}
        states.append([json.dumps(state, indent=2), json.dumps(runtime, indent=2)])
    content = {"trial_data": states, "runner_data": {}, "stats": {"start_time": START}}
    (directory / "experiment_state-2026-11-24_20-51-28.json").write_text(json.dumps(content), encoding="utf-8")


def tune_result(row: dict[str, Any], trial_id: str, config: dict[str, Any]) -> dict[str, Any]:
    """One line of result.json."""
    epoch = row["epoch"]
    return row | {
        "timestamp": START + epoch, "checkpoint_dir_name": None, "done": False, "training_iteration": epoch,
        "trial_id": trial_id, "date": "2026-11-24_20-51-31", "time_this_iter_s": row["seconds"],
        "time_total_s": row["seconds"] * epoch, "pid": 3709, "hostname": "node", "node_ip": "192.0.2.2",
        "config": config, "time_since_restore": row["seconds"] * epoch, "iterations_since_restore": epoch,
    }  # fmt: skip


def write_optuna(folder: Path, options: Options) -> None:
    """Write an Optuna database by SQL: Optuna itself took a minute for 1,000 such trials."""
    import optuna
    from optuna.distributions import CategoricalDistribution, distribution_to_json

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    optuna.create_study(storage=f"sqlite:///{folder / 'optuna'}", study_name="study", direction="maximize")
    kinds = {name: distribution_to_json(CategoricalDistribution(values)) for name, values in CHOICES.items()}
    date, ids = datetime.fromtimestamp(START, UTC).strftime("%Y-%m-%d %H:%M:%S.%f"), range(1, options.trials + 1)
    params = (
        (i, name, float(CHOICES[name].index(value)), kinds[name])
        for i, config in zip(ids, configs(options.trials), strict=True)
        for name, value in config.items()
    )
    steps = ((i, row["epoch"], row["val_acc"]) for i in ids for row in epochs_of(i - 1, options.epochs))
    with sqlite3.connect(folder / "optuna") as database:
        insert = database.executemany
        insert("INSERT INTO trials VALUES (?, ?, 1, 'COMPLETE', ?, ?)", ((i, i - 1, date, date) for i in ids))
        insert(
            "INSERT INTO trial_params (trial_id, param_name, param_value, distribution_json) VALUES (?, ?, ?, ?)",
            params,
        )
        insert(
            "INSERT INTO trial_values (trial_id, objective, value, value_type) VALUES (?, 0, 0.4, 'FINITE')",
            ((i,) for i in ids),
        )
        insert(
            "INSERT INTO trial_intermediate_values (trial_id, step, intermediate_value, intermediate_value_type) "
            "VALUES (?, ?, ?, 'FINITE')",
            steps,
        )
    database.close()


def write_wandb(folder: Path, options: Options) -> None:
    """Write a CSV file as W&B exports a table of runs."""
    with (folder / "wandb").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_ALL)
        writer.writerow(
            ["Name", "State", "Notes", "User", "Tags", "Created", "Runtime", "Sweep", *CHOICES, "epoch", "val_acc"]
        )
        for number, config in enumerate(configs(options.trials)):
            row = next(itertools.islice(epochs_of(number, options.epochs), options.epochs - 1, None))
            writer.writerow(
                [
                    f"run-{number}",
                    "finished",
                    "-",
                    "me",
                    "",
                    "2026-11-24T20:51:28.000Z",
                    "300",
                    "sweep",
                    *config.values(),
                    row["epoch"],
                    row["val_acc"],
                ]
            )


WRITERS: dict[Kind, Callable[[Path, Options], None]] = {
    "inat": write_study_directory, "tune": write_tune, "optuna": write_optuna, "wandb": write_wandb,
}  # fmt: skip


def load(kind: Kind, options: Options) -> Numbers:
    """Load one of the studies and check that it is complete."""
    started = time.perf_counter()
    from analysis.study import load_study

    imported = time.perf_counter()
    assert options.folder
    study = load_study(options.folder / kind)
    loaded = time.perf_counter()
    trials = options.tune_trials if kind == "tune" else options.trials
    assert (len(study.trials), len(study.read_errors)) == (trials, 0)
    assert len(study.history) == (0 if kind == "wandb" else trials * options.epochs)
    assert len(study.parameters) == len(CHOICES)
    return {"import_s": imported - started, f"{kind}_s": loaded - imported, f"{kind}_mb": peak_memory()}


def peak_memory() -> float:
    """Peak resident memory of this process in MB; getrusage would include the process that started it."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("VmHWM"))


def main() -> None:
    """Write the studies, load them round by round, print a table, then the result line."""
    options = tyro.cli(Options)
    if not Path("/proc/self/status").exists():
        sys.exit("load_study.py needs /proc/self/status, so run it on Linux")
    if options.only:
        print(json.dumps(load(options.only, options)))
        return
    with tempfile.TemporaryDirectory() as name:
        for kind, write in WRITERS.items():
            started = time.perf_counter()
            write(Path(name), options)
            print(f"{kind} written in {time.perf_counter() - started:.1f} s", flush=True)
        variants = [("", {"only": kind, "folder": Path(name)}) for kind in WRITERS]
        print_report(alternate(__file__, options, options.rounds, variants))


if __name__ == "__main__":
    main()
