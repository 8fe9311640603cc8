"""The recipes of docs/extending.md, each applied to a copy of the project and run as the page says."""

import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from analysis.study import load_study
from inat.study.study import Study
from tests.helpers import run_epochs
from tests.paths import ROOT

PAGE = ROOT / "docs" / "extending.md"
BELOW = re.compile(r"In\s`([^`]+)`,\sbelow\s`([^`]+)`:\n\n(?:<!-- fmt: off -->\n)?```python\n(.*?)```", re.DOTALL)
REPLACE = re.compile(r"In\s`([^`]+)`,\sreplace\s`([^`]+)`\sby\s`([^`]+)`\.")
NEW_FILE = re.compile(r"New\sfile\s`([^`]+)`:\n\n```python\n(.*?)```", re.DOTALL)
COMMANDS = re.compile(r"```bash\n(.*?)```", re.DOTALL)

pytestmark = pytest.mark.slow


def recipe(title: str) -> str:
    (text,) = re.findall(rf"^## {title}\n(.*?)(?=^## |\Z)", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    return text


def apply(text: str, root: Path) -> set[str]:
    """Make the edits of a recipe below ``root``; returns the files that they touch."""
    edits = 0
    for name, anchor, code in BELOW.findall(text):
        lines = (root / name).read_text().splitlines(keepends=True)
        (place,) = [i for i, line in enumerate(lines) if anchor in line]
        indent = re.match(r" *", lines[place])[0]
        lines.insert(place + 1, textwrap.indent(code, indent))
        (root / name).write_text("".join(lines))
        edits += 1
    for name, old, new in REPLACE.findall(text):
        content = (root / name).read_text()
        assert content.count(old) == 1, f"{old!r} is not once in {name}"
        (root / name).write_text(content.replace(old, new))
        edits += 1
    for name, code in NEW_FILE.findall(text):
        assert not (root / name).exists()
        (root / name).write_text(code)
        edits += 1
    assert edits == text.count("```python") + len(REPLACE.findall(text)), "a code block has no instruction"
    return {match[0] for pattern in (BELOW, REPLACE, NEW_FILE) for match in pattern.findall(text)}


def run(text: str, root: Path) -> str:
    """Run the commands of a recipe in ``root``; returns what they print."""
    (block,) = COMMANDS.findall(text)
    environment = os.environ | {"PYTHONPATH": str(root)}
    printed = ""
    for line in block.splitlines():
        program, *arguments = line.split()
        assert program == "python"
        done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=400, check=False,
                              cwd=root, env=environment)  # fmt: skip
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
        printed += done.stdout
    return printed


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name in ("inat", "analysis", "tests"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "recipes"))
    for name in ("tune_scratch.py", "tune_finetune.py", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def test_add_a_backbone(project):
    text = recipe("Add a backbone")
    assert len(apply(text, project)) == 2
    printed = run(text, project)
    assert "resnet18-" in printed
    assert re.search(r"[1-9]\d* passed", printed)


def add_a_hyperparameter(project: Path) -> str:
    text = recipe("Add a hyperparameter")
    touched = apply(text, project)
    assert touched == {"inat/config/optim.py", "inat/config/trial.py", "inat/models/classifier.py",
                       "inat/data/datamodule.py", "inat/tuning/space/presets.py"}  # fmt: skip
    return text


TRAIN_WITH_BOTH = """
from inat.config.search import SearchConfig
from inat.config.trial import TrialConfig
from inat.training.fit import fit
from inat.tuning.space.presets import space_of
from tests.conftest import Rows

space = space_of(SearchConfig(data="digits", space="full"))
params = {
    "data": "digits", "image_size": 16, "first_layer_filters": 8, "filter_org": 1, "conv_layers": 2,
    "activation": "relu", "dropout": 0.2, "batch_norm": True, "num_neurons_dense": 32, "learning_rate": 1e-3,
    "batch_size": 64, "max_epochs": 1, "use_augmentation": True,
}

def loss(**changes):
    keeper = Rows()
    fit(TrialConfig.from_params(params | changes), [keeper])
    return keeper.rows[0]["train_loss"]

losses = {loss(), loss(adam_epsilon=1e-3), loss(vertical_flip=True)}
print(len(losses), space["adam_epsilon"].lower, space["adam_epsilon"].upper, space["vertical_flip"].categories)
"""


def test_an_added_hyperparameter_is_in_the_space_and_changes_a_training(project):
    add_a_hyperparameter(project)
    environment = os.environ | {"PYTHONPATH": str(project)}
    done = subprocess.run([sys.executable, "-c", TRAIN_WITH_BOTH], capture_output=True, text=True, timeout=400,
                          check=False, cwd=project, env=environment)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "3 1e-08 0.001 [True, False]"


@pytest.mark.long
def test_add_a_hyperparameter(project):
    run(add_a_hyperparameter(project), project)
    study = load_study(project / "results" / "try")
    assert set(study.trials["state"]) <= {"completed", "stopped"}
    assert study.trials["adam_epsilon"].between(1e-8, 1e-3).all()
    assert study.info["space"]["vertical_flip"] == [True, False]


def test_add_a_figure(project):
    text = recipe("Add a figure")
    assert len(apply(text, project)) == 2
    study = Study.create(project / "results" / "STUDY", {"config": {}})
    for value in (0.5, 0.6, 0.7):
        trial = study.add_trial({"activation": "relu", "dropout": value})
        run_epochs(study, trial.trial_id, [value])
        study.end_trial(trial.trial_id, "completed")
    study.close()
    run(text, project)
    assert (project / "results" / "STUDY" / "figures" / "histogram.png").stat().st_size > 1000
    assert "Distribution of the results" in (project / "results" / "STUDY" / "report.html").read_text()
