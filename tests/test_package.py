"""What the package declares, and what its files must agree on."""

import ast
import re
import sys
import tomllib
from importlib import metadata

import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from inat.cluster.requirements import PYTHONS
from tests.paths import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DEPENDENCIES = {canonicalize_name(r.name): r for r in map(Requirement, PROJECT["dependencies"])}
OPTIONAL = {
    canonicalize_name(Requirement(text).name)
    for extra in PROJECT["optional-dependencies"].values() for text in extra
}  # fmt: skip
RUNTIME, DEVELOPMENT = (ROOT / "requirements.txt").read_text().split("\n# Development")
SOURCES = [*ROOT.glob("inat/**/*.py"), *ROOT.glob("analysis/**/*.py"), *ROOT.glob("tune_*.py")]


def pins(text: str) -> dict[str, str]:
    """Package and version of each line ``name==version``."""
    found = re.findall(r"^([\w.-]+)(?:\[[\w,-]*\])?==([^\s;]+)", text, re.MULTILINE)
    return {canonicalize_name(name): version for name, version in found}


def pins_of(file: str) -> dict[str, str]:
    return pins((ROOT / file).read_text())


def imported_modules() -> set[str]:
    """The top-level modules that the packages import, anywhere in a file."""
    found: set[str] = set()
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module.split(".")[0])
    return found


def test_the_package_declares_every_library_that_it_imports():
    installed = metadata.packages_distributions()
    libraries = imported_modules() - sys.stdlib_module_names - {"inat", "analysis"}
    declared = (
        DEPENDENCIES.keys() | OPTIONAL | {"tensorboardx", "triton"}
    )  # which ray[tune] and, on Linux, torch install
    assert not {name for name in libraries if not declared & {canonicalize_name(d) for d in installed[name]}}


def test_the_development_environment_pins_each_dependency_within_the_supported_range():
    assert pins(RUNTIME).keys() == DEPENDENCIES.keys()
    assert not {name: v for name, v in pins(RUNTIME).items() if not DEPENDENCIES[name].specifier.contains(v)}


def test_the_lock_has_the_versions_of_the_requirements():
    assert pins_of("requirements.txt").items() <= pins_of("requirements.lock").items()


def test_the_oldest_environment_has_the_lower_bounds_and_the_same_development_tools():
    bounds = {n: s.version for n, r in DEPENDENCIES.items() for s in r.specifier if s.operator == ">="}
    assert bounds.keys() == DEPENDENCIES.keys()
    assert (bounds | pins(DEVELOPMENT)).items() <= pins_of("requirements-oldest.txt").items()


def test_pre_commit_runs_the_commands_of_make_lint():
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    (recipe,) = re.findall(r"^lint: setup\n((?:\t.+\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    commands = [line.strip().replace("$(BIN)", ".venv/bin") for line in recipe.splitlines()]
    assert [hook["entry"] for hook in repository["hooks"]] == commands


def test_workflows_run_only_scripts_and_targets_that_exist():
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())["jobs"]
    commands = {step["run"] for job in jobs.values() for step in job["steps"] if "run" in step}
    assert commands == {".ci/run", "make test-oldest"}
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111
    assert "\ntest-oldest:" in (ROOT / "Makefile").read_text()


def test_every_place_names_the_same_versions_of_python():
    classifiers = [c.rsplit(" ", 1)[1] for c in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", c)]
    minors = [int(version.removeprefix("3.")) for version in classifiers]
    assert PROJECT["requires-python"] == f">=3.{minors[0]},<3.{minors[-1] + 1}"
    assert classifiers == list(PYTHONS)  # `python -m inat.cluster check`
    strategy = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())["jobs"]["check"]["strategy"]
    assert strategy["matrix"]["python"] == classifiers
    assert "macos-latest" in [each["system"] for each in strategy["matrix"]["include"]]
    words = f"{', '.join(classifiers[:-1])} or {classifiers[-1]}"
    for page in ("README.md", "CONTRIBUTING.md", "docs/index.md", "docs/getting-started.md", "docs/clusters/index.md"):
        assert words in " ".join((ROOT / page).read_text().split()), page


def test_the_changelog_has_a_dated_section_for_this_version():
    titles = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    newest = next(title for title in titles if title != "Unreleased")
    assert re.fullmatch(re.escape(PROJECT["version"]) + r" - \d{4}-\d\d-\d\d", newest)
