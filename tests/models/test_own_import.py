"""A user's network imports the files of its folder as they were read, and no other code sees them."""

import shutil
import sys

import pytest

from inat.config.own_model import read_model_file
from inat.errors import ConfigError
from inat.models import own_code as own_code_module
from inat.models.own_code import own_code
from tests.own_networks import allowed, write_net

NET = """from blocks import WIDTH
def build(num_classes, image_size, width=WIDTH):
    import late
    return late.NAME
"""


@pytest.fixture(autouse=True)
def nothing_named(monkeypatch):
    monkeypatch.setattr(own_code_module, "_named", {})


def network(folder, width: int):
    folder.mkdir(exist_ok=True)
    write_net(folder, f"WIDTH = {width}", "blocks.py")
    write_net(folder, f"from parts.name import *\nNAME = NAME + str({width})", "late.py")
    (folder / "parts").mkdir(exist_ok=True)
    write_net(folder / "parts", "from . import stem\nNAME = stem.NAME", "name.py")
    write_net(folder / "parts", "NAME = __name__.rpartition('.')[2]", "stem.py")
    return own_code(allowed(write_net(folder, NET)).sha256, "build")


def test_two_networks_have_their_own_files_of_the_same_name(tmp_path):
    one, other = network(tmp_path / "one", 3), network(tmp_path / "other", 5)
    assert [code.arguments["width"].default for code in (one, other)] == [3, 5]
    assert [code.build(2, 8) for code in (one, other)] == ["stem3", "stem5"]
    assert not {"blocks", "late", "parts"} & sys.modules.keys()


def test_an_edit_after_the_file_was_named_changes_no_sibling(tmp_path):
    write_net(tmp_path, "WIDTH = 3", "blocks.py")
    write_net(tmp_path, "NAME = 1", "late.py")
    file = allowed(write_net(tmp_path, NET))
    for name in ("blocks.py", "late.py"):
        write_net(tmp_path, "raise SystemExit", name)
    code = own_code(file.sha256, "build")
    assert (code.arguments["width"].default, code.build(2, 8)) == (3, 1)


def test_a_file_that_was_not_read_does_not_run(tmp_path):
    trace = tmp_path / "trace"
    write_net(tmp_path, f"open({str(trace)!r}, 'w').close()", "hidden.py")
    text = "import importlib\ndef build(num_classes, image_size):\n    return importlib.import_module('hidden')"
    code = own_code(allowed(write_net(tmp_path, text)).sha256, "build")
    with pytest.raises(ModuleNotFoundError):
        code.build(2, 8)
    assert not trace.exists()


@pytest.mark.parametrize(("blocks", "message"), [
    ("a = 1\nb = a / 0", r"blocks.py, line 2: running it raised ZeroDivisionError \(division by zero\); correct it"),
    ("WIDHT = 3", r"my_net.py, line 1: running it raised ImportError \(cannot import name 'WIDTH'"),
    ("from no_such_module_xyz import x", r"blocks.py, line 1: running it raised ModuleNotFoundError"),
])  # fmt: skip
def test_a_fault_of_a_sibling_is_one_sentence_with_its_line(tmp_path, blocks, message):
    write_net(tmp_path, blocks, "blocks.py")
    file = allowed(write_net(tmp_path, NET))
    for _ in range(2):  # a second attempt must not find the half of a module
        with pytest.raises(ConfigError, match=message):
            own_code(file.sha256, "build")


def test_a_process_in_another_folder_builds_the_network_from_a_copy(tmp_path, monkeypatch):
    """As a worker on another node does, which sees only the study's folder."""
    network(tmp_path / "mine", 7)
    shutil.copytree(tmp_path / "mine", tmp_path / "study")
    shutil.rmtree(tmp_path / "mine")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setattr(own_code_module, "_named", {})
    own_code_module._run.cache_clear()
    file = read_model_file(str(tmp_path / "study" / "my_net.py"))
    own_code_module.allow_model_file(file)
    assert own_code(file.sha256, "build").build(2, 8) == "stem7"


def test_a_file_that_imports_the_network_itself_gets_it_as_it_was_read(tmp_path, monkeypatch):
    write_net(tmp_path, "def width():\n    from my_net import WIDTH\n    return WIDTH", "blocks.py")
    net = "from blocks import width\nWIDTH = 8\ndef build(num_classes, image_size): return width()"
    path = write_net(tmp_path, net)
    monkeypatch.syspath_prepend(str(tmp_path))
    code = own_code(allowed(path).sha256, "build")
    path.write_text(net.replace("8", "999"))
    assert code.build(2, 8) == 8
