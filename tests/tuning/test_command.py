"""The product as its user meets it: one command on the built-in data."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from analysis.study import load_study
from inat.options import SearchConfig
from inat.results import Study
from inat.training import evaluate
from inat.tuning import command
from tests.tuning.conftest import run_epochs

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.slow
def test_one_command_searches_trains_and_tests(tmp_path):
    options = ["--data", "digits", "--image-size", "16", "--num-samples", "3", "--max-epochs", "3", "--patience", "2",
               "--storage-path", str(tmp_path), "--name", "study", "--wandb", "offline"]  # fmt: skip
    done = subprocess.run([sys.executable, str(ROOT / "tune_scratch.py"), *options], capture_output=True, text=True,
                          timeout=240, check=False, cwd=tmp_path)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert sum(line.startswith("[") for line in lines) == 3
    assert len(lines) < 20
    study = load_study(tmp_path / "study")
    assert len(study.trials) == 3
    best = json.loads((tmp_path / "study" / "best.json").read_text())
    assert best["best_val_acc"] == study.trials["best_val_acc"].max()
    assert f"{best['test']['test_acc']:.4f} on 360 held-out images" in done.stdout
    weights = tmp_path / "study" / "best.ckpt"
    assert evaluate(weights, "val")["val_acc"] == pytest.approx(best["best_val_acc"], abs=1e-6)
    runs = list((tmp_path / "study" / "wandb").glob("offline-run-*/*.wandb"))
    assert len(runs) == 3
    content = b"".join(path.read_bytes() for path in runs)
    for name in study.trials["name"]:
        assert name.encode() in content
    assert b"val_acc" in content
    assert {path.name for path in tmp_path.iterdir()} == {"study"}
    assert os.environ.get("WANDB_API_KEY", "no key at all").encode() not in content


def test_the_summary_says_what_and_where(tmp_path):
    study = Study.create(tmp_path / "study", {"data": {"classes": ["a", "b"]}})
    for value, state in [(0.5, "completed"), (0.75, "stopped"), (0.9, "failed")]:
        trial = study.add_trial({"activation": "relu", "dropout": 0.2})
        run_epochs(study, trial.trial_id, [value])
        study.end_trial(trial.trial_id, state, "ValueError: x" if state == "failed" else "")
    text = command.summary(study, study.best(), {"test_acc": 0.625, "images": 8}, seconds=12.3)
    assert "1 completed, 1 stopped, 1 failed in 12 s" in text
    assert "t0001 relu-d0.2" in text
    assert "0.7500 best validation accuracy" in text
    assert "0.6250 on 8 held-out images" in text
    assert f"{study.directory}: trials.csv, history.csv" in text
    settings = SearchConfig(data="digits", num_samples=9)
    assert "9 trials, 3 of them already ended" in command.describe_task(settings, study)
    assert f"--resume {study.directory}" in command.interruption(settings, study)
    assert "failed with: ValueError: x" in command.all_failed(study)
