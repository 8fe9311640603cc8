"""The wheel: what it holds, and that it works in a new environment, away from the checkout."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

from tests.paths import ROOT

pytestmark = pytest.mark.slow
# What the build reads, and the tests, which the wheel must leave out.
SOURCES = ("inat", "analysis", "tests", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE", "CHANGELOG.md")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel, built through the source distribution from a copy of the sources."""
    folder = tmp_path_factory.mktemp("sources")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, folder)
    subprocess.run([sys.executable, "-m", "build", "--no-isolation"], cwd=folder, check=True, timeout=300)
    (built,) = folder.glob("dist/inat_search-*.whl")
    return built


@pytest.fixture(scope="module")
def python(wheel, tmp_path_factory) -> Path:
    """Python of a new environment: the wheel, with the libraries of the environment that runs the tests."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True, timeout=60)
    python = folder / "bin" / "python"
    install = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index", wheel]
    subprocess.run(install, check=True, timeout=120)
    (packages,) = folder.glob("lib/python3*/site-packages")
    # Python adds the folder that a .pth file names, but does not read the .pth files there, which lead to the checkout.
    (packages / "libraries.pth").write_text(f"{Path(yaml.__file__).parent.parent}\n")
    return python


def run(command: list[str | Path], folder: Path) -> str:
    """Standard output of a command that succeeds in ``folder``, without the checkout on its path."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_holds_the_packages_with_their_data_and_no_tests(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    data = ["inat/py.typed", "analysis/py.typed"]
    for pattern in (
        "inat/**/*.py",
        "analysis/**/*.py",
        "analysis/claims/takeaways/*.txt",
        "analysis/report/page.*",
        "inat/interpret/page.html",
        "inat/serve/html/*",
    ):
        data += [str(path.relative_to(ROOT)) for path in ROOT.glob(pattern)]
    assert {name for name in names if ".dist-info/" not in name} == set(data)
    assert {name.split("/", 1)[1] for name in names if ".dist-info/" in name} >= {"METADATA", "licenses/LICENSE"}


def test_it_asks_for_no_exact_versions_and_no_development_tools(wheel):
    archive = zipfile.ZipFile(wheel)
    (file,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
    required = [line for line in archive.read(file).decode().splitlines() if line.startswith("Requires-Dist: ")]
    assert len(required) > 20
    required = [line.partition(";")[0] for line in required]
    assert not [line for line in required if "==" in line or "pytest" in line or "mypy" in line]


def test_modules_come_from_the_installed_package(python, tmp_path):
    where = run([python, "-c", "import inat, analysis; print(inat.__file__, analysis.__file__)"], tmp_path)
    assert all(str(python.parent.parent) in path for path in where.split())


def test_the_command_lists_its_commands_and_each_explains_itself(python, tmp_path):
    inat = python.with_name("inat")
    assert "tune-scratch" in run([inat, "--help"], tmp_path)
    assert "usage: inat predict" in run([inat, "predict", "--help"], tmp_path)


@pytest.mark.long
def test_a_search_runs_and_its_report_is_written(python, tmp_path):
    size = ["--image-size", "16", "--num-samples", "2", "--max-epochs", "1", "--grace-period", "1"]
    out = run([python.with_name("inat"), "tune-scratch", "--data", "digits", *size], tmp_path)
    assert "2 completed" in out
    (study,) = (tmp_path / "results").iterdir()
    assert (study / "best.ckpt").is_file()
    assert (study / "report.html").is_file()  # analysis found its templates
