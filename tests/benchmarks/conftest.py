import importlib
import sys
from collections.abc import Callable, Iterator
from types import ModuleType

import pytest

from tests.paths import ROOT


@pytest.fixture
def benchmark(monkeypatch) -> Iterator[Callable[[str], ModuleType]]:
    """Imports a script of benchmarks/ as Python does that runs it: the other scripts are modules beside it."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    before = set(sys.modules)
    yield importlib.import_module
    for name in set(sys.modules) - before:
        if (ROOT / "benchmarks" / f"{name}.py").exists():
            del sys.modules[name]
