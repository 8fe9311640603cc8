"""A search where Linux's own interfaces are missing, as on macOS."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.paths import ROOT

# Python loads this file at the start of every process: of the search, of Ray's workers and of Ray's servers. It takes
# Linux's interfaces away from this project's code only, as Ray has its own code for macOS.
SITECUSTOMIZE = """
import ctypes, errno, os, sys
OURS = tuple(os.path.join({root!r}, package, "") for package in ("inat", "analysis"))
HELPERS = ("pathlib.py", "glob.py", "_local.py", "sitecustomize.py")  # of Python, between our code and the system

def is_ours():
    frame = sys._getframe()
    while frame is not None and frame.f_code.co_filename.endswith(HELPERS):
        frame = frame.f_back
    return frame is not None and frame.f_code.co_filename.startswith(OURS)

def refuse(event, arguments):
    if event in ("open", "os.listdir", "os.scandir") and str(arguments[0]).startswith(("/proc", "/sys", "/dev/shm")):
        if is_ours():
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", arguments[0])

sys.addaudithook(refuse)
LINUX_ONLY = ("sched_getaffinity", "fdatasync", "posix_fadvise", "posix_fallocate", "copy_file_range", "memfd_create",
              "pidfd_open", "eventfd", "O_DIRECT", "O_PATH", "O_TMPFILE", "getxattr", "setxattr")
hidden = {{name: vars(os).pop(name) for name in LINUX_ONLY if name in vars(os)}}

class Portable(type(os)):
    def __getattr__(self, name):
        if name in hidden and not is_ours():
            return hidden[name]
        raise AttributeError(f"module 'os' has no attribute {{name!r}}")

os.__class__ = Portable
find = ctypes.CDLL.__getattr__

def find_portable(self, name):
    if name in ("mallopt", "malloc_trim", "prctl") and is_ours():
        raise AttributeError(name)
    return find(self, name)

ctypes.CDLL.__getattr__ = find_portable
"""
PROBE = """
import os, sys
exec(compile("import ctypes; print(hasattr(os, 'sched_getaffinity'), hasattr(ctypes.CDLL(None), 'mallopt'))",
             sys.argv[1], "exec"))
"""


def test_the_search_below_runs_without_these_interfaces(tmp_path):
    environment = _environment(tmp_path)
    for place, expected in ((str(ROOT / "inat" / "cli.py"), "False False\n"), ("elsewhere.py", "True True\n")):
        done = subprocess.run([sys.executable, "-c", PROBE, place], env=environment, capture_output=True, text=True)
        assert done.stdout == expected or not sys.platform.startswith("linux"), done.stderr


@pytest.mark.long
@pytest.mark.slow
def test_a_search_needs_nothing_that_only_linux_has(tmp_path):
    options = ["--data", "digits", "--image-size", "16", "--num-samples", "3", "--max-epochs", "3", "--name", "study"]
    command = [sys.executable, ROOT / "tune_scratch.py", *options]
    done = subprocess.run(
        command, cwd=tmp_path, env=_environment(tmp_path), capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert "0 failed" in done.stdout
    assert "Traceback" not in done.stderr


def _environment(folder: Path) -> dict[str, str]:
    (folder / "sitecustomize.py").write_text(SITECUSTOMIZE.format(root=str(ROOT)))
    return os.environ | {
        "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT), os.environ.get("PYTHONPATH", "")]).strip(os.pathsep)
    }
