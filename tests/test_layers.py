"""The import order: a module imports only from its own row and from lower ones, inside functions too."""

import ast
from pathlib import Path

import pytest

from tests.paths import ROOT

# Longest prefix wins.
ROWS = {
    "inat": 0, "inat.constants": 0, "inat.errors": 0,
    "inat.config": 1, "inat.study": 1, "inat.cli": 1,
    "inat.data": 2, "inat.models": 2, "inat.device": 2, "inat.gpus": 2,
    # Networks and image stores use these two as well.
    "inat.training.precision": 2, "inat.training.memory": 2,
    "inat.training": 3, "inat.interpret": 3, "inat.predict": 3, "inat.summary": 3,
    "inat.tuning": 4, "inat.finalize": 4, "inat.study_check": 4, "inat.study.__main__": 4,
    "inat.data.inspect": 4,
    # The check of a cluster runs on the user's machine, before the cluster exists.
    "inat.cluster": 1, "inat.cluster.__main__": 4,
    "inat.cluster.wait_on_head": 4, "inat.cluster.wait": 4, "inat.cluster.status": 4,
    "inat.api": 5, "inat.tune_scratch": 5, "inat.tune_finetune": 5, "inat.rank": 5, "inat.new": 5, "inat.watch": 5,
    "inat.serve": 5,
    "inat.__main__": 5,
    "tune_scratch": 6, "tune_finetune": 6,
}  # fmt: skip
ANALYSIS_ROWS = {
    "analysis.escaping": 0, "analysis.files": 0, "analysis.terminal": 0, "analysis.wording": 0, "analysis.failures": 0,
    "analysis.schema": 0, "analysis.objective": 0, "analysis.class_counts": 0, "analysis.rungs": 0,
    "analysis.option_help": 0, "analysis.run_card": 0,
    "analysis.readers": 1, "analysis.study": 2, "analysis": 2,
    "analysis.nothing_to_compare": 3, "analysis.budgets": 3, "analysis.comparable": 3, "analysis.compare": 3,
    "analysis.markdown": 3, "analysis.side_by_side": 3,
    "analysis.stats": 3, "analysis.recipe": 3, "analysis.constant_answer": 3,
    "analysis.noise": 3, "analysis.study_noise": 3, "analysis.kept_scores": 3,
    "analysis.claims": 4, "analysis.early_stopping": 4, "analysis.costs": 4,
    "analysis.figures": 5, "analysis.report": 6,
    "analysis.printing": 7, "analysis.comparison_text": 7, "analysis.comparison_report": 7, "analysis.reading": 7,
    "analysis.__main__": 7,
}  # fmt: skip
HEAVY = {"torch", "torchvision", "pytorch_lightning", "ray", "optuna", "wandb", "pandas", "sklearn", "matplotlib"}
# What no module of a row may import, even inside functions: usage errors show before heavy libraries load.
FORBIDDEN = {0: HEAVY, 1: HEAVY, 2: {"ray", "optuna", "wandb"}, 3: {"ray", "optuna", "wandb"}}


def modules() -> dict[str, Path]:
    found = {}
    for path in [*ROOT.glob("inat/**/*.py"), *ROOT.glob("analysis/**/*.py"), *ROOT.glob("tune_*.py")]:
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def row_of(module: str) -> int:
    if module == "inat":  # imports what it offers on first use
        return max(ROWS.values())
    rows = ANALYSIS_ROWS if package_of(module) == "analysis" else ROWS
    prefixes = [known for known in rows if module == known or module.startswith(f"{known}.")]
    return rows[max(prefixes, key=len)]


def package_of(module: str) -> str:
    return module.split(".")[0]


def imports_of(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("module", sorted(modules()))
def test_a_module_imports_only_from_its_own_row_and_lower_ones(module: str):
    known = modules()
    own = row_of(module)
    same = [
        name for name in imports_of(known[module]) if name in known and package_of(name) in {package_of(module), "inat"}
    ]
    higher = {name for name in same if row_of(name) > own}
    assert not higher, f"{module} (row {own}) imports from higher rows: {higher}"


@pytest.mark.parametrize("module", sorted(name for name in modules() if package_of(name) != "analysis"))
def test_a_module_does_not_import_what_its_row_must_not_load(module: str):
    heavy = {name.split(".")[0] for name in imports_of(modules()[module])}
    assert not heavy & FORBIDDEN.get(row_of(module), set())


def test_there_are_no_cycles():
    known = modules()
    edges = {module: {n for n in imports_of(path) if n in known and n != module} for module, path in known.items()}
    done: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, " -> ".join((*trail, module))
        if module not in done:
            for target in edges[module]:
                visit(target, (*trail, module))
            done.add(module)

    for module in known:
        visit(module, ())


def test_init_files_hold_only_a_docstring():
    # inat/__init__.py and analysis/__init__.py are left out: they import what they offer on first use.
    for path in [*ROOT.glob("inat/*/**/__init__.py"), *ROOT.glob("analysis/*/**/__init__.py")]:
        assert not imports_of(path)
        assert ast.get_docstring(ast.parse(path.read_text()))


@pytest.mark.parametrize("module", sorted(name for name in modules() if package_of(name) == "analysis"))
def test_analysis_imports_neither_inat_nor_a_training_library(module: str):
    packages = {package_of(name) for name in imports_of(modules()[module])}
    assert not packages & {"inat", "torch", "torchvision", "pytorch_lightning", "ray"}


@pytest.mark.parametrize("module", sorted(name for name in modules() if package_of(name) == "inat"))
def test_inat_takes_names_and_help_from_analysis_and_only_its_commands_take_more(module: str):
    used = {name for name in imports_of(modules()[module]) if package_of(name) == "analysis" and name in modules()}
    assert row_of(module) >= 4 or all(name == "analysis" or row_of(name) == 0 for name in used)
