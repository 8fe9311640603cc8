"""Run the examples in the docstrings of the public modules, as doctests.

To add an example, write it with ``>>>`` into the docstring of a public function, class or method of a package in
PACKAGES. Nothing else is needed: this file finds it. An example runs with

- the names of its module, so it imports neither its function nor anything that the module imports;
- ``study``: ``analysis.load_study("study")`` of the study below;
- a temporary current folder of its own, which contains
  - ``study/``: a study directory of a search on the digits with 54 trials (real curves of 9 epochs, of which the half
    that was worse after 3 epochs was stopped there) and a best.ckpt that was trained for 2 epochs;
  - ``final/``: an ensemble of two models equal to this best.ckpt, with the weights 0.75 and 0.25;
  - ``photos/``: the images 0.png, 1.png and 2.png, each of the handwritten digit in its name.

``...`` in the expected output matches any text, and white space may differ. Floats of a training differ between
processors: compare them (``metrics["val_acc"] > 0.5``) or round them. Keep the examples of a module below 5 seconds.
Packages in COMPLETE must have an example in the docstring of every public function; add a package when it has them.
"""

import doctest
import gc
import importlib
import inspect
import json
import shutil
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest
from PIL import Image

from analysis import load_study
from inat.config.search import SearchConfig
from inat.constants import BEST_CKPT, COMPLETED, ENSEMBLE_DIR, ENSEMBLE_JSON, STOPPED
from inat.data import digits
from inat.study.study import Study
from tests.paths import ROOT

PACKAGES = ("inat/training", "inat/predict.py")  # tests/analysis/test_docstring_examples.py runs those of analysis
COMPLETE = ("inat/training", "inat/predict.py")
# Called by other modules of inat.training only.
INTERNAL = ("inat.training.resume", "inat.training.checkpoint_limits", "inat.training.precision_choice")
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
CURVES = ROOT / "benchmarks" / "data" / "digits16_curves.csv"


def files_of(packages: tuple[str, ...]) -> list[Path]:
    places = [ROOT / package for package in packages]
    return sorted(file for place in places for file in ([place] if place.is_file() else place.rglob("*.py")))


def module_name(file: Path) -> str:
    return ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def public_functions(module: ModuleType) -> dict[str, str]:
    """Docstrings by name."""
    own = {name: inspect.unwrap(value) for name, value in vars(module).items() if callable(value)}
    return {
        name: value.__doc__ or ""
        for name, value in own.items()
        if inspect.isfunction(value) and value.__module__ == module.__name__ and not name.startswith("_")
    }


WITH_EXAMPLES = [module_name(file) for file in files_of(PACKAGES) if ">>> " in file.read_text()]


@pytest.fixture(scope="session")
def example_folder(tmp_path_factory, digits_model) -> Path:
    folder = tmp_path_factory.mktemp("examples")
    write_study(folder / "study")
    shutil.copy(digits_model, folder / "study" / BEST_CKPT)
    write_ensemble(folder / "final" / ENSEMBLE_DIR, digits_model)
    images, labels = digits.load(64)
    (folder / "photos").mkdir()
    for label in range(3):
        first = labels.tolist().index(label)
        Image.fromarray(images[first]).save(folder / "photos" / f"{label}.png")
    return folder


def write_ensemble(directory: Path, model: Path) -> None:
    directory.mkdir(parents=True)
    members = [{"file": "t0000.ckpt", "weight": 0.75}, {"file": "t0001.ckpt", "weight": 0.25}]
    for member in members:
        shutil.copy(model, directory / member["file"])
    (directory / ENSEMBLE_JSON).write_text(json.dumps({"format": 1, "members": members}))


def write_study(directory: Path) -> None:
    config = SearchConfig(data="digits", image_size=16, max_epochs=9, grace_period=3, num_samples=54)
    data = {"source": config.data, "fingerprint": "", "classes": list(digits.CLASSES)}
    study = Study.create(directory, {"config": config.to_json(), "data": data})
    table = pd.read_csv(CURVES).iloc[::12]
    curves = table[[str(epoch) for epoch in range(1, 10)]].ffill(axis=1)
    median = curves["3"].median()
    for params, curve in zip(table.iloc[:, :6].to_dict("records"), curves.to_numpy().tolist(), strict=True):
        stopped = curve[2] < median
        trial_id = study.add_trial(params).trial_id
        for epoch, accuracy in enumerate(curve[:3] if stopped else curve, start=1):
            losses = {"train_loss": 1.1 - accuracy, "val_loss": 1.1 - accuracy}
            metrics = {"train_acc": accuracy, "val_acc": accuracy, "best_val_acc": max(curve[:epoch])}
            study.add_epoch(trial_id, {"epoch": epoch, **losses, **metrics, "seconds": 2.0})
        study.end_trial(trial_id, STOPPED if stopped else COMPLETED)
    study.close()


@pytest.fixture(autouse=True)
def unfrozen_objects():
    yield
    gc.unfreeze()  # inat.training.memory.collect_garbage freezes all objects of the process


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_examples_give_what_they_show(name, example_folder, tmp_path, monkeypatch, one_thread):
    shutil.copytree(example_folder, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    module, runner, report = importlib.import_module(name), doctest.DocTestRunner(optionflags=OPTIONS), []
    for example in doctest.DocTestFinder().find(module, extraglobs={"study": load_study("study")}):
        runner.run(example, out=report.append)
    assert runner.summarize(verbose=False).attempted > 0
    assert not runner.failures, "".join(report)


@pytest.mark.parametrize("name", sorted({module_name(file) for file in files_of(COMPLETE)} - {*INTERNAL}))
def test_every_public_function_has_an_example(name):
    functions = public_functions(importlib.import_module(name))
    assert [name for name, text in functions.items() if ">>> " not in text] == []
