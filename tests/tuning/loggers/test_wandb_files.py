"""What an offline run of W&B has in its file, which `wandb sync` uploads."""

import json
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import wandb
from wandb.proto import wandb_internal_pb2 as messages

from inat.tuning.loggers.wandb_logger import WandbLogger

BLOCK = 32768
HEADER = 7  # bytes of the file's header, and of each part of a record
WHOLE, LAST = 1, 4


def records(path: Path) -> Iterator[Any]:
    """The records of a .wandb file: parts in blocks, as in LevelDB's logs."""
    content, at, parts = path.read_bytes(), HEADER, b""
    assert content.startswith(b":W&B")
    while at + HEADER <= len(content):
        if BLOCK - at % BLOCK < HEADER:
            at += BLOCK - at % BLOCK
            continue
        _, length, kind = struct.unpack("<IHB", content[at : at + HEADER])
        parts += content[at + HEADER : at + HEADER + length]
        at += HEADER + length
        if kind in (WHOLE, LAST):
            yield messages.Record.FromString(parts)
            parts = b""


def values(items: Any) -> dict[str, Any]:
    return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}


def read(path: Path) -> dict[str, Any]:
    """What W&B shows of a run."""
    found: dict[str, Any] = {"epochs": [], "summary": {}}
    for record in records(path):
        kind = record.WhichOneof("record_type")
        if kind == "run":
            run = record.run
            config = {update.key: json.loads(update.value_json) for update in run.config.update}
            config.pop("_wandb", None)
            found |= {"id": run.run_id, "name": run.display_name, "group": run.run_group, "project": run.project}
            found["config"] = config
        if kind == "history":
            row = values(record.history.item)
            found["epochs"].append((row["_step"], row["best_val_acc"], row["val_loss"]))
        if kind == "summary":
            found["summary"] |= values(record.summary.update)
        if kind == "exit":
            found["exit"] = record.exit.exit_code
    return found


@pytest.fixture(autouse=True)
def own_service():
    """Ends W&B's process, which later tests would use with this one's umask: its address is in the environment."""
    yield
    wandb.teardown()
    os.environ.pop("WANDB_SERVICE", None)


@pytest.mark.slow
def test_the_files_of_a_search_have_names_groups_and_summary_and_a_resumed_one_goes_on_in_the_same_runs(
    study, monkeypatch
):
    monkeypatch.delenv("WANDB_PROJECT", raising=False)
    params = {"strategy": "freeze_all", "k_layers": 3, "learning_rate": 0.1}
    good, bad = study.add_trial(params), study.add_trial(params | {"learning_rate": 0.01})
    for last in (False, True):  # interrupted after the first epoch of each
        with WandbLogger(study, "offline") as tracker:
            for trial, state in ((good, "completed"), (bad, "failed")):
                epoch = trial.epochs + 1
                study.add_epoch(trial.trial_id, {"epoch": epoch, "best_val_acc": 0.5 + epoch / 10, "val_loss": 1.0})
                tracker(trial)
                if last:
                    study.end_trial(trial.trial_id, state)
                    tracker(trial)
        assert tracker.error is None
    wandb.teardown()  # W&B's process may write the end of a file after the run has finished
    runs = [read(path) for path in sorted(study.directory.glob("wandb/offline-run-*/*.wandb"))]
    assert sorted(run["id"] for run in runs) == ["study-t0000", "study-t0000", "study-t0001", "study-t0001"]
    for number, (rate, state, code) in enumerate([(0.1, "completed", 0), (0.01, "failed", 1)]):
        before, after = (run for run in runs if run["id"] == f"study-t000{number}")
        for run in (before, after):
            assert (run["group"], run["project"]) == ("study", "inat")
            assert run["name"] == study.trials[f"t000{number}"].name
            assert run["config"] == {"strategy": "freeze_all", "learning_rate": rate}  # k_layers has no effect
        assert before["epochs"] == [(1, 0.6, 1.0)]
        assert after["epochs"] == [(2, 0.7, 1.0)]
        shown = {name: value for name, value in after["summary"].items() if name[0] != "_"}
        assert shown == {"state": state, "best_val_acc": 0.7, "epochs": 2, "val_loss": 1.0}
        assert "state" not in before["summary"]
        assert after["exit"] == code
