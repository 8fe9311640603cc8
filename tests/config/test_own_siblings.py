"""The files beside a user's network that belong to it are found by their import statements."""

import sys
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inat.config import own_siblings
from inat.config.own_model import read_model_file
from inat.config.own_siblings import imported_names
from inat.errors import ConfigError

PARTS = st.from_regex(r"[a-z]{1,4}", fullmatch=True).filter(lambda name: name not in ("as", "if", "in", "is", "or"))
PARTS = PARTS.filter(lambda name: name not in ("not", "and", "for", "def", "del", "try", "else", "elif", "from", "with",
                                               "pass", "None", "True"))  # fmt: skip


def write(folder: Path, files: dict[str, str]) -> Path:
    """Files by name, without .py; returns the one of the network."""
    for name, text in files.items():
        path = folder / f"{name}.py"
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(text)
    return folder / "my_net.py"


def siblings(path: Path) -> list[str]:
    return [name for name, _ in read_model_file(str(path)).siblings]


def test_files_are_followed_through_imports_of_every_form(tmp_path):
    path = write(
        tmp_path,
        {
            "my_net": "import blocks\nimport parts.act as act\nfrom nets import wide\ndef build(): from . import lazy",
            "blocks": "from parts.norm import Norm\nimport my_net",
            "parts/act": "from .deep.kind import KIND\nfrom .. import above",
            **dict.fromkeys(["parts/norm", "parts/deep/kind", "nets/__init__", "nets/wide", "nets/unused"], ""),
            **dict.fromkeys(["lazy", "above", "unused"], ""),
        },
    )
    assert siblings(path) == [
        "above.py", "blocks.py", "lazy.py", "nets/__init__.py", "nets/wide.py", "parts/act.py", "parts/deep/kind.py",
        "parts/norm.py",
    ]  # fmt: skip


def test_packages_of_the_environment_and_of_this_program_are_no_siblings(tmp_path):
    path = write(tmp_path, {"my_net": "import torch.nn, os.path\nfrom inat.models import cnn", "inat/models/cnn": ""})
    assert siblings(path) == []


@pytest.mark.parametrize("name", ["random", "torch"])
def test_a_file_with_the_name_of_an_installed_package_is_refused(tmp_path, name):
    path = write(tmp_path, {"my_net": f"import {name}", name: ""})
    with pytest.raises(ConfigError, match=f"{name}.py, which my_net.py imports, has the name of an installed package"):
        read_model_file(str(path))
    write(tmp_path, {"my_net": "import os"})
    assert siblings(path) == []


def test_the_folder_of_the_network_may_be_on_pythons_path(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    assert siblings(write(tmp_path, {"my_net": "import blocks", "blocks": ""})) == ["blocks.py"]


def test_the_hash_follows_each_file(tmp_path):
    path = write(tmp_path, {"my_net": "import blocks", "blocks": "import deep", "deep": ""})
    hashes = [read_model_file(str(path)).sha256]
    for name in ("my_net", "blocks", "deep"):
        text = (tmp_path / f"{name}.py").read_text()
        write(tmp_path, {name: f"{text}\n# edited"})
        hashes.append(read_model_file(str(path)).sha256)
    assert len(set(hashes)) == len(hashes)


@pytest.mark.parametrize(("files", "message"), [
    ({"blocks": "def ("}, "blocks.py, line 1, is no valid Python"),
    ({"blocks": "#" * 10_000_001}, "blocks.py is larger than 10 MB; my_net.py imports this file"),
])  # fmt: skip
def test_a_sibling_that_is_no_python_is_one_sentence(tmp_path, files, message):
    with pytest.raises(ConfigError, match=message):
        read_model_file(str(write(tmp_path, {"my_net": "import blocks"} | files)))


def test_a_network_of_too_many_files_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(own_siblings, "MOST_FILES", 1)
    with pytest.raises(ConfigError, match="imports more than 1 files of its folder; install them as a package"):
        read_model_file(str(write(tmp_path, {"my_net": "import a1, b1", "a1": "", "b1": ""})))


@given(st.lists(PARTS, min_size=1, max_size=3), st.lists(PARTS, min_size=1, max_size=3), st.integers(0, 4))
def test_relative_names_are_those_that_python_computes(package, module, level):
    importer = PurePosixPath(*package, "file.py")
    found = list(imported_names(f"from {'.' * level}{'.'.join(module)} import x".encode(), importer))
    if level > len(package) + 1:
        assert found == []
        return
    above = package[: len(package) - (level - 1)] if level else []
    name = ".".join([*above, *module])
    assert found == [name, f"{name}.x"]
