"""The product as its user meets it: one command on the built-in data."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from PIL import Image
from rich.console import Console

from analysis.study import load_study
from inat.cli import guard
from inat.config.search import SearchConfig
from inat.errors import SearchError, StudyError
from inat.study.study import Study
from inat.training.evaluation import evaluate
from inat.tuning import command
from inat.tuning.command import write_report
from inat.tuning.search import Outcome, claim_directory
from tests.helpers import children_of, run_epochs
from tests.paths import ROOT


@pytest.mark.slow
@pytest.mark.long
def test_a_search_with_folds_says_mean_and_error_and_its_files_can_be_used(tmp_path):
    options = ["--data", "digits", "--image-size", "16", "--num-samples", "3", "--max-epochs", "2", "--folds", "3",
               "--grace-period", "1", "--storage-path", str(tmp_path), "--name", "study"]  # fmt: skip
    done = subprocess.run([sys.executable, str(ROOT / "tune_scratch.py"), *options], capture_output=True, text=True,
                          timeout=240, check=False, cwd=tmp_path)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "search  3 trials, up to 2 epochs x 3 folds, space small" in done.stdout
    assert "folds   each trial trains once per fold, 3 folds of the train and validation images" in done.stdout
    assert "images  958 train, 479 validation, 360 held-out test" in done.stdout
    study = load_study(tmp_path / "study")
    best = json.loads((tmp_path / "study" / "best.json").read_text())
    row = study.trials.set_index("trial_id").loc[best["trial_id"]]
    assert best["best_val_acc"] == pytest.approx(sum(best["fold_values"]) / len(best["fold_values"]))
    assert row["standard_error"] == pytest.approx(best["standard_error"])
    assert f"{best['best_val_acc']:.4f} +- {best['standard_error']:.4f} (3 folds)" in done.stdout
    # best.ckpt is that of the best fold, and knows on which images it was validated.
    weights = tmp_path / "study" / "best.ckpt"
    assert evaluate(weights, "val")["val_acc"] == pytest.approx(max(best["fold_values"]), abs=1e-6)
    assert evaluate(weights, "val")["images"] == 479
    for command_line in (["inat.study", "check", "study"], ["inat.finalize", "study", "--top", "1", "--seeds", "1"]):
        used = subprocess.run([sys.executable, "-m", *command_line], capture_output=True, text=True, cwd=tmp_path,
                              timeout=240, check=False, env=os.environ | {"PYTHONPATH": str(ROOT)})  # fmt: skip
        assert used.returncode == 0, used.stdout + used.stderr
    metrics = json.loads((tmp_path / "study" / "final" / "metrics.json").read_text())
    assert metrics["data"]["splits"]["validation"] == 288  # the ordinary split


def wait_until(condition, what: str, seconds: float = 240) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.1)


@pytest.mark.long
@pytest.mark.slow
def test_a_killed_worker_goes_on_from_its_checkpoint_and_ctrl_c_says_how_to_continue(tmp_path):
    directory = tmp_path / "my study"
    options = ["--data", "digits", "--space", "full", "--num-samples", "3", "--max-epochs", "60", "--patience", "60",
               "--grace-period", "60", "--max-concurrent", "1", "--storage-path", str(tmp_path), "--name", "my study",
               "--keep-checkpoints", "1"]  # fmt: skip
    process = subprocess.Popen([sys.executable, str(ROOT / "tune_scratch.py"), *options], stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True, cwd=tmp_path)  # fmt: skip
    last = directory / "checkpoints" / "t0000" / "last.ckpt"
    journal = directory / "journal.jsonl"

    def saved() -> int:
        return torch.load(last, weights_only=True)["callbacks"]["EpochRecorder"]["epoch"] if last.exists() else 0

    # Checkpoints and reports each have a second of their own: both must have got beyond the first epoch.
    wait_until(lambda: saved() > 1, "a checkpoint of a running trial")
    wait_until(lambda: journal.read_text().count('"epoch", ') > 1, "reports of it")
    listed = subprocess.run(["ps", "-eo", "pid,args"], capture_output=True, text=True, check=True).stdout
    children = children_of(process.pid)
    rows = (line.split(None, 1) for line in listed.splitlines()[1:])
    workers = [int(pid) for pid, args in rows if int(pid) in children and "ray::ImplicitFunc" in args]
    before = journal.read_text().count('"epoch", ')
    os.kill(workers[0], signal.SIGKILL)
    killed_at = time.time_ns()
    wait_until(lambda: last.stat().st_mtime_ns > killed_at, "a checkpoint of the second attempt")
    wait_until(lambda: journal.read_text().count('"epoch", ') > before + 2, "epochs of the second attempt")
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 130, output + errors
    assert f"--resume '{directory}'" in output.splitlines()[-1]
    study = Study.open(directory)
    rows = [row for trial_id, row in study.reported_epochs if trial_id == "t0000"]
    # Rows that the checkpoint had not yet reported come once more as they are. Trained again, and so with other
    # seconds, is an epoch only if it was reported and not yet in the checkpoint: never the first.
    seconds = {epoch: {row["seconds"] for row in rows if row["epoch"] == epoch} for epoch in (1, 2)}
    assert len(rows) > before
    assert [len(seconds[epoch]) for epoch in (1, 2)] == [1, 1]
    assert [row["epoch"] for row in study.trials["t0000"].history] == list(range(1, study.trials["t0000"].epochs + 1))
    study.close()


@pytest.mark.slow
@pytest.mark.usefixtures("hangup_by_default")
@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGHUP, marks=pytest.mark.long)])
def test_a_signal_while_photos_are_decoded_leaves_nothing_behind(tmp_path, image_tree, number):
    # A named pipe would be refused at once; a large image takes a while.
    root, cache = image_tree(), tmp_path / "cache"
    Image.effect_noise((6000, 6000), 100).save(root / "train" / "bird" / "large.png")
    for copy in range(40):
        os.link(root / "train" / "bird" / "large.png", root / "train" / "bird" / f"large{copy}.png")
    options = ["--data", str(root), "--image-size", "16", "--num-samples", "1", "--cache-dir", str(cache),
               "--storage-path", str(tmp_path / "results")]  # fmt: skip
    process = subprocess.Popen([sys.executable, str(ROOT / "tune_scratch.py"), *options], stderr=subprocess.PIPE,
                               text=True, cwd=tmp_path)  # fmt: skip
    wait_until(lambda: list(cache.glob("*.building/images.npy")), "the first store")
    process.send_signal(number)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130, errors
    assert errors.endswith("interrupted\n")
    assert [path.suffix for path in cache.iterdir()] == [".lock"]
    assert not (tmp_path / "results").exists()


@pytest.mark.long
@pytest.mark.slow
def test_a_reader_that_leaves_does_not_end_the_search(tmp_path):
    options = ["--data", "digits", "--image-size", "16", "--num-samples", "1", "--max-epochs", "3", "--storage-path",
               str(tmp_path), "--name", "study"]  # fmt: skip
    process = subprocess.Popen([sys.executable, str(ROOT / "tune_scratch.py"), *options], stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True, cwd=tmp_path)  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline().startswith("study ")
    process.stdout.close()
    process.stdout = None
    _, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors
    assert errors.startswith("nobody reads the output any more; the command goes on without it\n")
    assert (tmp_path / "study" / "report.html").exists()


def test_searches_that_begin_in_the_same_second_get_directories_of_their_own(tmp_path):
    storage = tmp_path / "results"
    claimed = [claim_directory(storage, "scratch-digits-20261129-100000") for _ in range(3)]
    assert [path.name.removeprefix("scratch-digits-20261129-100000") for path in claimed] == ["", "-2", "-3"]
    for directory in claimed:
        Study.create(directory, {"config": {}}).close()
    (tmp_path / "file").touch()
    with pytest.raises(StudyError, match="cannot create .*; choose another --storage-path"):
        claim_directory(tmp_path / "file", "name")


def test_a_forced_end_before_the_first_trial_leaves_no_study(tmp_path, capsys):
    study = Study.create(tmp_path / "study", {"config": {}})
    command._leave(SearchConfig(data="digits"), study, Console(), "interrupted")
    assert not study.directory.exists()
    assert capsys.readouterr().out == "interrupted before the first trial; nothing is left behind\n"


def test_a_time_that_is_over_before_the_first_trial_is_an_error_and_leaves_no_study(tmp_path, monkeypatch):
    study = Study.create(tmp_path / "study", {"config": {}})
    limit = "the time budget of 1 s is used up"
    monkeypatch.setattr(command.search, "open_study", lambda config: (study, {}))
    monkeypatch.setattr(command.search, "run", lambda *_, **__: Outcome(study, False, limit, 1.0, None))
    monkeypatch.setattr(command, "describe_task", lambda *_: "the task")
    with pytest.raises(SearchError, match=f"^{limit} before the first trial could start; give a longer --time-budget$"):
        command.search_and_report(SearchConfig(data="digits"))
    assert not study.directory.exists()


@pytest.mark.usefixtures("hangup_by_default")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_during_the_final_test_keeps_everything(tmp_path, monkeypatch, capsys, number):
    study = Study.create(tmp_path / "study", {"config": {}})
    run_epochs(study, study.add_trial({"dropout": 0.2}).trial_id, [0.5])
    study.end_trial("t0000", "completed")

    def evaluate(*_):
        os.kill(os.getpid(), number)
        signal.pause()

    monkeypatch.setattr(command.search, "open_study", lambda config: (study, {}))
    monkeypatch.setattr(command.search, "run", lambda *_, **__: Outcome(study, False, "", 1.0, None))
    monkeypatch.setattr(command, "describe_task", lambda *_: "the task")
    monkeypatch.setattr(command, "evaluate_best_on_test", evaluate)
    with pytest.raises(SystemExit) as exit_info:
        guard(lambda: command.search_and_report(SearchConfig(data="digits", num_samples=1)))
    assert exit_info.value.code == 130
    assert (
        capsys.readouterr().out.splitlines()[-2]
        == "interrupted: 1 of 1 trial has ended, best validation accuracy 0.5000 (t0000), everything is kept"
    )
    assert load_study(study.directory).trials["state"].tolist() == ["completed"]


def test_the_report_reads_tables_with_the_last_trials(tmp_path, monkeypatch):
    study = Study.create(tmp_path / "study", {"config": {}})
    study._table_cost = 1e6  # on a slow disk, trials.csv is written seldom
    read = []

    def run(*_, **__):
        run_epochs(study, study.add_trial({"dropout": 0.2}).trial_id, [0.5])
        study.end_trial("t0000", "completed")
        return Outcome(study, False, "", 1.0, None)

    def report(directory):
        read.append(load_study(directory).trials["state"].tolist())
        return "report"

    monkeypatch.setattr(command.search, "open_study", lambda config: (study, {}))
    monkeypatch.setattr(command.search, "run", run)
    monkeypatch.setattr(command, "describe_task", lambda *_: "the task")
    monkeypatch.setattr(command, "write_report", report)
    command.search_and_report(SearchConfig(data="digits", num_samples=1))
    assert read == [["completed"]]


def test_a_report_that_cannot_be_written_costs_nobody_the_search(tmp_path, monkeypatch):
    study = Study.create(tmp_path / "study", {"config": {}})
    monkeypatch.setattr("analysis.report.build.build", lambda *_: 1 / 0)
    assert write_report(study.directory) == (
        "report  not written (ZeroDivisionError: division by zero); "
        f"try again with: python -m analysis report {tmp_path / 'study'}"
    )
    study.close()
