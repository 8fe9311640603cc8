"""Fine-tuning as its user meets it: one command, with random weights on the built-in data."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torchvision.models import mobilenet_v2

from analysis.study import load_study
from inat.training.evaluation import evaluate
from tests.paths import ROOT

SMALL = ["--data", "digits", "--image-size", "32", "--backbones", "mobilenet_v2", "--learning-rates", "1e-2",
         "--batch-sizes", "64", "--max-epochs", "3", "--grace-period", "3", "--recipe", "published",
         "--searcher", "grid"]  # fmt: skip


def run(tmp_path: Path, *options: str) -> subprocess.CompletedProcess[str]:
    new = [] if "--resume" in options else ["--storage-path", str(tmp_path / "results"), "--name", "study"]
    command = [sys.executable, str(ROOT / "tune_finetune.py"), *options, "--cache-dir", str(tmp_path / "cache"), *new]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, cwd=tmp_path)


@pytest.mark.slow
def test_a_grid_runs_and_its_best_network_needs_no_other_file(tmp_path):
    grid = ["--strategies", "freeze_all", "freeze_partial", "--k-layers", "1", "--views", "2", "--weights", "none"]
    done = run(tmp_path, *SMALL, *grid)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "search  4 trials" in done.stdout
    directory = tmp_path / "results" / "study"
    trials = load_study(directory).trials
    assert sorted(trials["name"]) == [
        f"mobilenet_v2-{strategy}-b64-lr1e-2-{augmented}"
        for strategy in ("freeze_all", "freeze_partial-k1")
        for augmented in ("aug", "noaug")
    ]
    assert set(trials["state"]) <= {"completed", "stopped"}
    assert trials["trainable_parameters"].nunique() == 2
    assert trials.loc[trials["strategy"] == "freeze_all", "k_layers"].isna().all()
    kept = sorted(p.name.rsplit("-", 2)[0] for p in (tmp_path / "cache").iterdir() if p.is_dir())
    assert kept == sorted(
        2 * [f"features-mobilenet_v2-{part}" for part in ("train", "train-view0", "train-view1", "val")]
    )
    best = json.loads((directory / "best.json").read_text())
    assert evaluate(directory / "best.ckpt", "val")["val_acc"] == pytest.approx(best["best_val_acc"], abs=0.01)
    again = run(tmp_path, "--resume", str(directory))
    assert again.returncode == 0, again.stdout + again.stderr
    assert "4 of them already ended" in again.stdout


@pytest.mark.slow
@pytest.mark.long
def test_changed_weights_do_not_go_on_with_a_study(tmp_path):
    weights = tmp_path / "weights"
    weights.mkdir()
    torch.save(mobilenet_v2().state_dict(), weights / "mobilenet_v2.pth")
    options = ["--strategies", "freeze_all", "--augmentation", "off", "--weights-dir", str(weights)]
    done = run(tmp_path, *SMALL, *options)
    assert done.returncode == 0, done.stdout + done.stderr
    torch.save(mobilenet_v2().state_dict(), weights / "mobilenet_v2.pth")
    again = run(tmp_path, "--resume", str(tmp_path / "results" / "study"), "--weights-dir", str(weights))
    assert again.returncode == 2
    assert again.stderr.startswith("error: the weights of mobilenet_v2 differ from the ones that the study began with")


def test_missing_weights_are_one_sentence_before_ray_starts(tmp_path):
    (tmp_path / "weights").mkdir()
    done = run(tmp_path, *SMALL, "--weights-dir", str(tmp_path / "nowhere"))
    assert done.returncode == 2
    assert done.stderr == f"error: there is no folder {tmp_path / 'nowhere'}; check --weights-dir\n"
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("line", "message"),
    [('"image_size": tune.choice([32, 64])', "image_size is set by the search and cannot be a hyperparameter"),
     ('"k_layers": tune.uniform(1, 3)', "k_layers must be")],
)  # fmt: skip
def test_a_space_that_cannot_be_searched_is_one_sentence(tmp_path, line, message):
    (tmp_path / "space.py").write_text(
        "from ray import tune\ndef space():\n    return {'backbone': tune.choice(['mobilenet_v2']), 'strategy': "
        "'freeze_partial', 'k_layers': 1, 'use_augmentation': False, 'batch_size': 64, 'learning_rate': 1e-3, "
        f"{line}}}\n"
    )
    done = run(tmp_path, *SMALL, "--weights", "none", "--space", "space.py", "--searcher", "tpe", "--num-samples", "3")
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1
    assert message in done.stderr


def test_weights_of_another_network_are_named(tmp_path):
    weights = tmp_path / "weights"
    weights.mkdir()
    torch.save({"fc.weight": torch.zeros(3, 4)}, weights / "mobilenet_v2.pth")
    done = run(tmp_path, *SMALL, "--weights-dir", str(weights))
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith(f"error: {weights / 'mobilenet_v2.pth'}: these are not weights of mobilenet_v2")
    assert "fc.weight" in done.stderr


def test_a_study_of_the_other_script_is_not_resumed(tmp_path):
    from inat.config.search import SearchConfig
    from inat.study.study import Study

    Study.create(tmp_path / "study", {"config": SearchConfig(data="digits").to_json()}).close()
    done = run(tmp_path, "--resume", str(tmp_path / "study"))
    assert done.returncode == 2
    assert "is a study of tune_scratch.py; run python tune_scratch.py --resume " in done.stderr
