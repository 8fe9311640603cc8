"""The notebooks run on small studies. They contain only text, calls and no outputs."""

import ast
import os
from pathlib import Path

import nbformat
import numpy as np
import pytest
from IPython.core.inputtransformer2 import TransformerManager
from nbclient import NotebookClient

from inat.study.study import Study
from tests.paths import ROOT

FOLDER = ROOT / "analysis" / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
CALLS = (
    ast.Module, ast.Expr, ast.Assign, ast.Import, ast.ImportFrom, ast.alias, ast.Call, ast.keyword, ast.Name,
    ast.Attribute, ast.Subscript, ast.Constant, ast.List, ast.Tuple, ast.Dict, ast.Starred, ast.expr_context,
)  # fmt: skip


def write_study(directory: Path, space: dict[str, list], extra: dict[str, object]) -> Path:
    """Write a study of 48 trials of up to 9 epochs; the first hyperparameter has an effect; ASHA stops weak trials."""
    rng = np.random.default_rng(0)
    info = {"config": {"grace_period": 3, "reduction_factor": 3, "max_epochs": 9, "max_concurrent": 2}}
    study = Study.create(directory, info | {"data": {"source": "made", "fingerprint": "0", "classes": ["a"]}})
    for i in range(48):
        params = {name: values[rng.integers(len(values))] for name, values in space.items()}
        first = next(iter(space))
        level = 0.3 + 0.2 * (params[first] == space[first][0]) + rng.normal() * 0.03
        trial = study.add_trial(params | extra)
        ended = "completed" if level > 0.4 else "stopped"
        for epoch in range(1, 10 if ended == "completed" else 4):
            accuracy = level + 0.03 * epoch
            study.add_epoch(trial.trial_id, {"epoch": epoch, "val_acc": accuracy, "best_val_acc": accuracy,
                                             "val_loss": 1 - accuracy, "seconds": 1.0})  # fmt: skip
        study.end_trial(trial.trial_id, "failed" if i == 5 else ended, "out of memory" if i == 5 else "")
    study.close()
    return study.directory


@pytest.fixture(scope="module")
def studies(tmp_path_factory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("studies")
    scratch = {"batch_norm": [True, False], "activation": ["relu", "gelu"], "dropout": [0.2, 0.3],
               "use_augmentation": [True, False]}  # fmt: skip
    finetune = {"strategy": ["unfreeze_all", "freeze_all"], "learning_rate": [1e-3, 1e-4],
                "use_augmentation": [True, False]}  # fmt: skip
    return {
        "INAT_SCRATCH": str(write_study(folder / "scratch", scratch, {"conv_layers": 3})),
        "INAT_FINETUNE": str(write_study(folder / "finetune", finetune, {"backbone": "mobilenet_v2"})),
    }


def read(path: Path) -> nbformat.NotebookNode:
    return nbformat.read(path, as_version=4)


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_runs_on_a_small_study(path, studies, tmp_path, monkeypatch):
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))
    notebook = read(path)
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    env = os.environ | studies | {"PYTHONPATH": paths, "IPYTHONDIR": str(tmp_path)}
    client = NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(FOLDER)}})
    client.execute(env=env)
    code = [cell for cell in notebook.cells if cell.cell_type == "code" and not cell.source.startswith("%matplotlib")]
    assert sum(bool(cell.outputs) for cell in code) >= len(code) // 2
    assert not [output for cell in code for output in cell.outputs if output.output_type == "stream"]
    drawn = [cell for cell in code if cell.source.endswith(".figure")]
    assert len(drawn) >= 2
    assert all("image/png" in output.get("data", {}) for cell in drawn for output in cell.outputs)


def plain(source: str) -> str:
    """The source of a cell with its magics converted to calls."""
    return TransformerManager().transform_cell(source)


def test_there_are_three_notebooks():
    assert [path.stem for path in NOTEBOOKS] == ["compare", "finetune", "scratch"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_contains_text_and_calls_without_outputs(path):
    notebook = read(path)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert (cell.outputs, cell.execution_count) == ([], None)
            other = [
                type(node).__name__ for node in ast.walk(ast.parse(plain(cell.source))) if not isinstance(node, CALLS)
            ]
            assert not other, f"{cell.source}: {other}"
    prose = [cell for cell in notebook.cells if cell.cell_type == "markdown"]
    assert len(prose) >= 5
    tagged = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    assert len(tagged) == 1
