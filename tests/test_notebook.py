"""notebooks/colab.ipynb, on a kernel of its own: it has the libraries, and the notebook installs this program."""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.paths import ROOT

FILE = ROOT / "notebooks" / "colab.ipynb"
SOURCES = ("pyproject.toml", "README.md", "LICENSE", "MANIFEST.in", "CHANGELOG.md", "inat", "analysis")
LINE = re.compile(r"^\[\d+/2\] t000\d (?:completed|stopped) +best_val_acc", re.MULTILINE)


@pytest.fixture
def kernel(tmp_path, monkeypatch) -> str:
    """The name of a kernel in a new environment; `pip` installs there, without a network."""
    folder = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    (place,) = folder.glob("lib/python*/site-packages")
    (place / "libraries.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    command = [str(folder / "bin" / "python"), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    path = f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
    spec = {"argv": command, "display_name": "own", "language": "python", "env": {"PATH": path, "PYTHONPATH": ""}}
    (tmp_path / "jupyter" / "kernels" / "own").mkdir(parents=True)
    (tmp_path / "jupyter" / "kernels" / "own" / "kernel.json").write_text(json.dumps(spec))
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "jupyter"))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    return "own"


@pytest.fixture
def source(tmp_path) -> Path:
    """A copy of the files that the package is built from, because building writes beside them."""
    for name in SOURCES:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        (tmp_path / "source").mkdir(exist_ok=True)
        copy(ROOT / name, tmp_path / "source" / name)
    return tmp_path / "source"


@pytest.mark.slow
@pytest.mark.long
def test_the_notebook_installs_and_searches_digits_and_a_folder_of_photos(kernel, source, image_tree, tmp_path):
    settings = {
        "INAT_SOURCE": str(source), "INAT_PIP_OPTIONS": "--no-index --no-deps --no-build-isolation",
        "INAT_PHOTOS": str(image_tree(train=20)), "INAT_TRIALS": "2", "OMP_NUM_THREADS": "1", "HOME": str(tmp_path),
    }  # fmt: skip
    notebook = nbformat.read(FILE, as_version=4)
    client = NotebookClient(notebook, timeout=600, kernel_name=kernel, resources={"metadata": {"path": str(tmp_path)}})
    client.execute(env=os.environ | settings)
    printed = {cell.source: _printed(cell) for cell in notebook.cells if cell.cell_type == "code"}
    for name in ("digits", "photos"):
        (output,) = [text for source, text in printed.items() if f"--name {name}" in source]
        assert len(LINE.findall(output)) == 2, output
        assert "held-out images, evaluated once" in output
        assert "\x1b" not in output  # the codes of a live bar, which a cell cannot draw
        assert (tmp_path / "results" / name / "report.html").exists()
    (resumed,) = [text for source, text in printed.items() if "--resume" in source]
    assert "2 of them already ended" in resumed
    frames = [cell for cell in notebook.cells if "nlargest" in cell.source]
    assert "text/html" in frames[0].outputs[-1].data


def _printed(cell: nbformat.NotebookNode) -> str:
    text = "".join(output.get("text", "") for output in cell.outputs)
    return text.replace("\r\n", "\n").removesuffix("\x1b[0m")  # which IPython itself adds to each command's output


def test_the_notebook_has_no_outputs_and_no_address_that_does_not_exist():
    notebook = nbformat.read(FILE, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all((cell.outputs, cell.execution_count) == ([], None) for cell in code)
    assert "YOUR-REPOSITORY" in "".join(cell.source for cell in code)
