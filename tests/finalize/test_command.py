"""The whole command without Ray (see conftest), and once with Ray."""

import csv
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from inat.errors import DiskFullError, Interruption, SearchError
from inat.finalize import command as commands
from inat.finalize.command import finalize
from inat.finalize.options import FinalizeCommand
from inat.study.study import Study
from inat.training.evaluation import evaluate
from tests.finalize.conftest import PARAMS, make_study, metrics_of
from tests.helpers import children_of
from tests.paths import ROOT

FILES = {
    "model.ckpt", "model.onnx", "model.pt2", "metrics.json", "MODEL_CARD.md", "predictions.csv", "confusion.csv",
    "confusion.png", "classes.csv", "reliability.png",
}  # fmt: skip


@pytest.mark.slow
def test_a_study_becomes_a_model_that_is_tested_once(digits_study, trainer, test_loads, no_export, tmp_path, capsys):
    finalize(FinalizeCommand(study=digits_study, top=2, seeds=3, licence="CC0"))
    final = digits_study / "final"
    assert {path.name for path in final.iterdir() if path.is_file()} == FILES
    metrics = metrics_of(digits_study)
    assert len(trainer.trained) == 6
    assert len(test_loads) == 1 + len(metrics["ensemble"]["members"])

    # The model is the winner's median run, and its scores are those that evaluate finds.
    runs = Study.open(final / "retraining")
    scores = {c["trial_id"]: [run["best_val_acc"] for run in c["runs"]] for c in metrics["candidates"]}
    recorded = [trial.best_value for trial in runs.trials.values()]
    assert scores["t0001"] + scores["t0000"] == pytest.approx(recorded)
    runs.close()
    means = {trial_id: sum(values) / 3 for trial_id, values in scores.items()}
    winner = max(means, key=means.get)
    assert metrics["winner"]["trial_id"] == winner
    assert metrics["winner"]["mean"] == pytest.approx(means[winner])
    assert metrics["winner"]["best_of_search_shrank_by"] == pytest.approx(0.99 - means["t0001"])
    assert 0 <= metrics["winner"]["best_epoch_optimism"] < 0.1
    assert metrics["winner"]["is_best_of_search"] == (winner == "t0001")
    assert metrics["model"]["best_val_acc"] == sorted(scores[winner])[1]
    alone = shutil.copy(final / "model.ckpt", tmp_path / "alone.ckpt")
    again = evaluate(Path(alone), "test")
    assert metrics["test"]["accuracy"] == pytest.approx(again["test_acc"])
    assert metrics["test"]["loss"] == pytest.approx(again["test_loss"], rel=1e-4)
    assert evaluate(Path(alone), "val")["val_acc"] == pytest.approx(metrics["model"]["best_val_acc"], abs=1e-6)
    with (final / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert sum(row["label"] == row["predicted"] for row in rows) / 360 == pytest.approx(again["test_acc"])
    card = (final / "MODEL_CARD.md").read_text()
    for part in (
        f"{metrics['test']['accuracy']:.4f}",
        "CC0",
        "scikit-learn digits",
        "1,149 images",
        metrics["model"]["sha256"],
    ):
        assert part in card
    capsys.readouterr()

    # A second call trains, evaluates and exports nothing; the result is the same.
    del test_loads[:]
    finalize(FinalizeCommand(study=digits_study, top=2, seeds=3))
    assert not test_loads
    assert len(trainer.trained) == 6
    assert no_export == ["model.ckpt"]
    repeated = metrics_of(digits_study)
    assert repeated["test"] == metrics["test"]
    assert repeated["model"] == metrics["model"]
    assert repeated["ensemble"] == metrics["ensemble"]
    assert "evaluated once" in capsys.readouterr().out

    # With more seeds only the new seeds train. Another model may win, which is counted.
    finalize(FinalizeCommand(study=digits_study, top=2, seeds=4, ensemble=False))
    assert [(s["activation"], s["seed"]) for s in trainer.trained[6:]] == [("relu", 4), ("mish", 4)]
    more = metrics_of(digits_study)
    assert (
        more["test"]["evaluations"]
        == 1 + len(test_loads)
        == 1 + (more["model"]["sha256"] != metrics["model"]["sha256"])
    )


def test_the_next_call_retries_a_run_that_failed(digits_study, trainer, no_export):
    trainer.fail_seeds = {1}
    with pytest.raises(SearchError, match="no configuration was trained with every seed: 1 run in .* out of luck; run"):
        finalize(FinalizeCommand(study=digits_study, top=1, seeds=1))
    assert not (digits_study / "final" / "metrics.json").exists()
    trainer.fail_seeds = set()
    finalize(FinalizeCommand(study=digits_study, top=1, seeds=1))
    assert metrics_of(digits_study)["candidates"][0]["n"] == 1


def test_an_interruption_prints_the_command_that_continues(digits_study, trainer, no_export, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["finalize", str(digits_study), "--seeds", "2"])
    command = FinalizeCommand(study=digits_study, top=1, seeds=2)
    trainer.interrupt_after = 1
    with pytest.raises(Interruption):
        finalize(command)
    output = capsys.readouterr().out
    assert "interrupted: 1 run has ended; everything is kept" in output
    assert f"continue with: python -m inat.finalize {digits_study} --seeds 2" in output
    trainer.interrupt_after = None
    finalize(command)
    assert "(1 of 2 runs already ended)" in capsys.readouterr().out
    assert [settings["seed"] for settings in trainer.trained] == [1, 2]


def test_an_interruption_between_test_and_record_does_not_repeat_the_test(
    digits_study, trainer, no_export, test_loads, monkeypatch
):
    command = FinalizeCommand(study=digits_study, top=1, seeds=1)
    with monkeypatch.context() as patch:

        def interrupted(*_):
            raise KeyboardInterrupt

        patch.setattr(commands, "write_confusion", interrupted)
        with pytest.raises(Interruption):
            finalize(command)
    finalize(command)
    assert len(test_loads) == 1
    assert metrics_of(digits_study)["test"]["evaluations"] == 1


def test_a_model_that_wins_again_is_not_tested_again(digits_study, trainer, no_export, test_loads, monkeypatch):
    command = FinalizeCommand(study=digits_study, top=1, seeds=2, ensemble=False)
    finalize(command)
    first = metrics_of(digits_study)
    with monkeypatch.context() as patch:
        patch.setattr(commands, "median_run", lambda candidate: max(candidate.runs, key=lambda run: run.best_value))
        finalize(command)
    assert len(test_loads) == 2
    finalize(command)
    again = metrics_of(digits_study)
    assert len(test_loads) == 2
    assert again["model"]["trained_sha256"] == first["model"]["trained_sha256"]
    assert again["test"] == first["test"] | {"evaluations": 2}


def test_a_full_disk_is_reported_with_the_next_step(digits_study, trainer, no_export, monkeypatch):
    real = torch.save

    def no_room(content, path, *args, **kwargs):
        if "model.ckpt" in str(path):
            raise OSError(28, "No space left on device")
        return real(content, path, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", no_room)
        with pytest.raises(DiskFullError, match="is full; .* free some space, then run the same command again"):
            finalize(FinalizeCommand(study=digits_study, top=1, seeds=1))
    finalize(FinalizeCommand(study=digits_study, top=1, seeds=1))
    assert len(trainer.trained) == 1


def run(*args: str, **changes) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "inat.finalize", *args]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=ROOT, **pipes, **changes)


def test_wrong_options_show_before_the_libraries_load(tmp_path):
    command = [sys.executable, "-X", "importtime", "-m", "inat.finalize", str(tmp_path), "--top", "0"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "error: --top must be positive, got 0" in done.stderr
    loaded = {line.split("|")[-1].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert not loaded & {"torch", "ray", "pytorch_lightning", "scipy"}


@pytest.mark.slow
@pytest.mark.long
def test_ctrl_c_and_continuing_with_real_ray(tmp_path, digits_config):
    """Ctrl-C interrupts the first run; the next call continues it and writes the model."""
    import dataclasses

    config = dataclasses.replace(digits_config, max_epochs=30, patience=30)
    study = make_study(tmp_path / "study", config, (PARAMS | {"learning_rate": 1e-4}, 0.5, "completed"))
    cache = ("--cache-dir", str(config.cache_dir))  # which a study may not choose
    args = (str(study), "--top", "1", "--seeds", "2", "--max-concurrent", "1", *cache)
    process = run(*args)
    journal = study / "final" / "retraining" / "journal.jsonl"
    deadline = time.monotonic() + 180
    while not (journal.exists() and '"epoch"' in journal.read_text()):
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    os.kill(process.pid, signal.SIGINT)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 130, output + errors
    assert "continue with: python -m inat.finalize" in output
    assert not children_of(process.pid)
    process = run(*args)
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 0, output + errors
    assert {path.name for path in (study / "final").iterdir() if path.is_file()} == FILES
    runs = Study.open(study / "final" / "retraining")
    assert [trial.params["seed"] for trial in runs.trials.values()] == [1, 2]
    assert [trial.epochs for trial in runs.trials.values()] == [30, 30]
    for trial in runs.trials.values():
        assert [row["epoch"] for row in trial.history] == list(range(1, 31))
    runs.close()
