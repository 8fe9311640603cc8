"""Write experiments like Ray Tune 2.60, without Ray; test_tune_real.py reads a real experiment."""

import json
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

START = 1_795_553_488  # seconds; the first trial starts then
STATE_FILE = "experiment_state-2026-11-24_20-51-28.json"


class Bomb:
    """An object that writes a file when it is unpickled."""

    def __init__(self, target: Path):
        self.target = target

    def __reduce__(self):
        return (Path.write_text, (self.target, "unpickled"))


def write_experiment(
    directory: Path, trials: Sequence[Mapping[str, Any]], state: bool = True, name: str = STATE_FILE
) -> Path:
    """Write an experiment; each of the ``trials`` holds the arguments of ``write_trial``."""
    directory.mkdir(parents=True, exist_ok=True)
    entries = [write_trial(directory, number, **trial) for number, trial in enumerate(trials)]
    (directory / "tuner.pkl").write_bytes(pickle.dumps(Bomb(directory / "unpickled.txt")))
    if state:
        content = {"trial_data": entries, "runner_data": {"_metric": "val_acc"}, "stats": {"start_time": START}}
        (directory / name).write_text(json.dumps(content))
    return directory


def write_trial(
    directory: Path,
    number: int,
    config: Mapping[str, Any],
    results: Sequence[Mapping[str, Any]],
    status: str = "TERMINATED",
    done: str | None = "returned",
    error: str | None = None,
    criterion: Mapping[str, float] | None = None,
    folder: bool = True,
) -> list[str]:
    """Write a trial's folder and return its entry of the experiment state.

    ``done``: "returned" if the training function returned, "cut" if Tune ended the trial, else None.
    """
    trial_id = f"d128a_{number:05d}"
    path = directory / f"f_{trial_id}_{number}_x=1_2026-11-24_20-51-28"
    lines = [full_result(result, i, trial_id, config) for i, result in enumerate(results, start=1)]
    if lines and done == "cut":
        lines[-1]["done"] = True
    if folder:
        path.mkdir()
        (path / "params.json").write_text(json.dumps(config, indent=2, sort_keys=True))
        (path / "params.pkl").write_bytes(pickle.dumps(Bomb(directory / "unpickled.txt")))
        (path / "result.json").write_text("".join(json.dumps(line) + "\n" for line in lines))
        if error is not None:
            (path / "error.txt").write_text(f"Failure # 1 (occurred at 2026-11-24_20-51-31)\n{error}\n")
    last = lines[-1] | {"done": done is not None} if lines else {}
    bomb = pickle.dumps(Bomb(directory / "unpickled.txt")).hex()
    static = {
        "trial_id": trial_id, "config": dict(config), "experiment_tag": f"{number}_x=1", "status": status,
        "stopping_criterion": dict(criterion or {}), "relative_logdir": path.name, "results": bomb,
        "storage": {"_type": "CLOUDPICKLE_FALLBACK", "value": bomb},
    }  # fmt: skip
    return [json.dumps(static, indent=2), json.dumps({"start_time": START + number, "last_result": last}, indent=2)]


def full_result(result: Mapping[str, Any], iteration: int, trial_id: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """A reported result with the keys that Tune adds."""
    own = {
        "timestamp": START + 10 * iteration, "checkpoint_dir_name": None, "done": False,
        "training_iteration": iteration, "trial_id": trial_id, "date": "2026-11-24_20-51-31", "time_this_iter_s": 2.0,
        "time_total_s": 2.0 * iteration, "pid": 3709, "hostname": "vm", "node_ip": "192.0.2.2",
        "config": dict(config), "time_since_restore": 2.0 * iteration, "iterations_since_restore": iteration,
    }  # fmt: skip
    return own | dict(result)
