"""The import order of DESIGN: a module imports only from its own row or rows above it, lazily or not."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# Longest prefix wins.
ROWS = {
    "inat": 0, "inat.constants": 0, "inat.errors": 0,
    "inat.config": 1, "inat.options": 1, "inat.naming": 1, "inat.trials": 1, "inat.files": 1, "inat.results": 1,
    "inat.cli": 1, "inat.finetune": 1, "inat.journal": 1, "inat.studyinfo": 1,
    "inat.data": 2, "inat.models": 2, "inat.arithmetic": 2,
    "inat.training": 3, "inat.epochs": 3, "inat.checkpoint": 3, "inat.evaluation": 3, "inat.preparation": 3,
    "inat.summary": 3, "inat.inference": 3, "inat.predict": 3, "inat.interpret": 3,
    "inat.tuning": 4, "inat.finalize": 4,
    # The check runs on the user's own machine, before there is a cluster.
    "inat.cluster": 1, "inat.cluster.__main__": 4,
    "inat.cluster.joined": 4, "inat.cluster.wait": 4, "inat.cluster.status": 4,
    "tune_scratch": 5, "tune_finetune": 5,
}  # fmt: skip
HEAVY = {"torch", "torchvision", "pytorch_lightning", "ray", "optuna", "wandb", "pandas", "sklearn", "matplotlib"}
# What each row must not load, however deep: usage errors show before the libraries have loaded.
FORBIDDEN = {0: HEAVY, 1: HEAVY, 2: {"ray", "optuna", "wandb"}, 3: {"ray", "optuna", "wandb"}}


def modules() -> dict[str, Path]:
    found = {}
    for path in [*ROOT.glob("inat/**/*.py"), *ROOT.glob("tune_*.py")]:
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def row_of(module: str) -> int:
    prefixes = [known for known in ROWS if module == known or module.startswith(f"{known}.")]
    return ROWS[max(prefixes, key=len)]


def imports_of(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("module", sorted(modules()))
def test_imports_only_from_rows_above(module: str):
    known = modules()
    own = row_of(module)
    lower = {name for name in imports_of(known[module]) if name in known and row_of(name) > own}
    assert not lower, f"{module} (row {own}) imports from rows below it: {lower}"


@pytest.mark.parametrize("module", sorted(modules()))
def test_each_row_leaves_out_what_it_must_not_load(module: str):
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


def test_init_files_only_describe():
    for path in ROOT.glob("inat/**/__init__.py"):
        assert not imports_of(path)
        assert ast.get_docstring(ast.parse(path.read_text()))


def test_analysis_imports_only_constants_from_inat():
    for path in ROOT.glob("analysis/**/*.py"):
        ours = {name for name in imports_of(path) if name.split(".")[0] == "inat"}
        assert all(name.startswith("inat.constants") for name in ours)
        assert not {name.split(".")[0] for name in imports_of(path)} & {"torch", "ray", "pytorch_lightning"}
