"""The examples in the docstrings of `analysis` run, with ``study`` and its directory ``path`` given."""

import doctest
import importlib
import pkgutil
import shutil

import pytest

import analysis
from analysis.study import load_study
from tests.analysis.studies import early_stopped_study, write_study_dir

MAX_LINES = 4
SLOW = ("analysis.report.", "analysis.comparison_report.", "analysis.stats.importance.",
        "analysis.stats.optuna_importance.", "analysis.figures.importance.")  # fmt: skip
# Functions of these modules are called by users; each needs an example.
PUBLIC = (
    "study", "compare", "claims.check", "early_stopping.audit", "early_stopping.timeline", "stats.correlation",
    "stats.effects", "stats.interaction", "stats.partial_dependence", "stats.optuna_importance", "figures.audit",
    "figures.final", "report.build",
)  # fmt: skip
INTERNAL = {
    "analysis.claims.check.detectable_of", "analysis.claims.check.late_row", "analysis.claims.check.tests_among",
    "analysis.claims.check.verdict_of",
    "analysis.compare.epochs_to_best",
    "analysis.early_stopping.timeline.busy_between",
    "analysis.stats.correlation.correlate", "analysis.stats.optuna_importance.completed_trials",
    "analysis.report.build.page_data",
}  # fmt: skip


def docstrings() -> list[doctest.DocTest]:
    names = [module.name for module in pkgutil.walk_packages(analysis.__path__, "analysis.")]
    modules = [importlib.import_module(name) for name in names if name != "analysis.__main__"]
    return [test for module in modules for test in doctest.DocTestFinder().find(module, module.__name__)]


EXAMPLES = [test for test in docstrings() if test.examples]


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    return write_study_dir(early_stopped_study(), tmp_path_factory.mktemp("examples") / "study")


@pytest.mark.parametrize(
    "example",
    [
        pytest.param(test, id=test.name, marks=[pytest.mark.slow] if test.name.startswith(SLOW) else [])
        for test in EXAMPLES
    ],
)
def test_the_example_runs(example, directory, tmp_path):
    path = shutil.copytree(directory, tmp_path / "study")
    example.globs |= {"path": path, "study": load_study(path)}
    output: list[str] = []
    results = doctest.DocTestRunner(verbose=False).run(example, out=output.append)
    assert results.failed == 0, "".join(output)
    assert sum(len(line.source.splitlines()) for line in example.examples) <= MAX_LINES


def test_functions_for_users_have_an_example():
    missing = [
        test.name
        for test in docstrings()
        if test.name.startswith(tuple(f"analysis.{module}." for module in PUBLIC))
        and test.name.count(".") == test.globs["__name__"].count(".") + 1
        and callable(test.globs[test.name.split(".")[-1]])
        and not isinstance(test.globs[test.name.split(".")[-1]], type)
        and not test.name.split(".")[-1].startswith("_")
        and not test.examples
    ]
    assert set(missing) == INTERNAL
