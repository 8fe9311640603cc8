"""What `from inat import ...` offers."""

import importlib
import subprocess
import sys

import pytest

import inat
from tests.paths import ROOT
from tests.test_layers import HEAVY


def test_importing_the_package_loads_no_large_library():
    code = "import sys, inat; dir(inat); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not {name.split(".")[0] for name in done.stdout.split()} & (HEAVY | {"tyro", "rich"})


def test_options_load_neither_torch_nor_ray():
    code = "import sys; from inat import SearchConfig; SearchConfig(data='digits'); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not {name.split(".")[0] for name in done.stdout.split()} & HEAVY


@pytest.mark.parametrize("name", inat.__all__)
def test_each_name_can_be_imported_and_has_a_docstring(name):
    assert callable(getattr(inat, name))
    assert getattr(inat, name).__doc__


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'inat' has no attribute 'serach'"):
        inat.serach  # noqa: B018


def test_finalize_stays_callable_after_its_package_was_imported(monkeypatch):
    from inat import finalize as before

    importlib.import_module("inat.finalize.command")
    from inat import finalize as after
    from inat.api import final

    calls = []
    monkeypatch.setattr(final, "finalize", lambda study, **options: calls.append((study, options)))
    after("results/study", seeds=2)
    assert before is after
    assert calls == [("results/study", {"verbose": True, "seeds": 2})]
