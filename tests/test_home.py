import os
import subprocess
import sys
from pathlib import Path

import pytest

from inat import home
from inat.home import FOLDERS

SCRIPT = """
import os, tempfile
from inat import home
home._can_write = lambda folder: False
home.replace_unwritable_home()
print(*[os.environ[name] for name in home.FOLDERS])
"""


@pytest.fixture
def without_folders(monkeypatch, tmp_path):
    for name in FOLDERS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def test_a_home_that_can_be_written_to_stays(without_folders):
    home.replace_unwritable_home()
    assert not FOLDERS.keys() & os.environ.keys()


def test_what_the_user_has_set_stays(without_folders, monkeypatch):
    monkeypatch.setattr(home, "_can_write", lambda folder: False)
    for name in FOLDERS:
        monkeypatch.setenv(name, "/mine")
    home.replace_unwritable_home()
    assert {os.environ[name] for name in FOLDERS} == {"/mine"}


def test_the_replacement_goes_with_the_process(without_folders):
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=30, check=True)
    cache, config = map(Path, done.stdout.split())
    assert (cache.name, config.name) == (".cache", ".config")
    assert cache.parent == config.parent
    assert not cache.parent.exists()


def test_the_nearest_folder_that_exists_decides(monkeypatch, tmp_path):
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) == tmp_path)
    assert home._can_write(tmp_path / "missing" / ".cache")
    assert not home._can_write(Path("/nowhere/.cache"))
