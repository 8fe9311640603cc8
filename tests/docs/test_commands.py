"""What README and docs/ tell a user to type works as they say."""

import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from functools import wraps
from pathlib import Path

import pytest
import tyro
from filelock import FileLock
from tyro.extras import SubcommandApp

from inat.tuning.space.presets import load_space
from tests.conftest import write_image
from tests.docs.blocks import Block, blocks, pages, shown_commands
from tests.paths import ROOT

FIRST = ROOT / "docs" / "getting-started.md"
TIMEOUT = 300


class ParsedError(BaseException):
    """Ends a command once its options have been read; not an Exception, so that no command catches it."""


@pytest.mark.parametrize(("page", "command"), shown_commands())
def test_options_of_shown_commands_exist(page, command, monkeypatch, capsys):
    target, args = _target(command)
    monkeypatch.setattr(sys, "argv", [target, *args])
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    monkeypatch.setattr(SubcommandApp, "command", _register_without_doing(SubcommandApp.command))
    monkeypatch.setattr(tyro, "cli", _parse_and_end(tyro.cli))
    try:
        if target.endswith(".py"):
            runpy.run_path(str(ROOT / target), run_name="__main__")
        else:
            runpy.run_module(target, run_name="__main__", alter_sys=True)
    except ParsedError:
        return
    except SystemExit as error:
        if error.code:
            pytest.fail(f"{page} shows `{command}`, which ends with: {''.join(capsys.readouterr())}")


def _target(command: str) -> tuple[str, list[str]]:
    _, *words = shlex.split(command)
    target, args = (words[1], words[2:]) if words[0] == "-m" else (words[0], words[1:])
    if "--resume" in args:  # reads the study, whose path is made up
        place = args.index("--resume")
        args = [arg for arg in args[:place] + args[place + 2 :] if arg != "--retry-failed"]  # which needs --resume
    if "--config" in args:  # a file that the page has written before
        place = args.index("--config")
        args = args[:place] + args[place + 2 :]
    return target, args


def _parse_and_end(cli):
    def parse(*args, **kwargs):
        parsed = cli(*args, **kwargs)
        if kwargs.get("return_unknown_args"):
            return parsed
        raise ParsedError

    return parse


def _register_without_doing(command):
    def register(self, function=None, **kwargs):
        if function is None:
            return lambda target: register(self, target, **kwargs)

        @wraps(function)
        def nothing(*args, **kwargs):
            return None

        return command(self, nothing, **kwargs)

    return register


@pytest.fixture(scope="session")
def workspace(tmp_path_factory, worker_id) -> Path:
    """A folder in which all that "Getting started" says has been done, and one more study; shared by all processes."""
    base = tmp_path_factory.getbasetemp()
    base = base if worker_id == "master" else base.parent
    folder = base / "docs-workspace"
    with FileLock(base / "docs-workspace.lock"):
        if not (folder / "done").exists():
            _make_workspace(folder)
            (folder / "done").touch()
    return folder


def _make_workspace(folder: Path) -> None:
    folder.mkdir()
    for name in ("tune_scratch.py", "tune_finetune.py", "benchmarks"):
        (folder / name).symlink_to(ROOT / name)
    for number, name in enumerate(("bird", "fish")):
        for split, count in (("train", 12), ("val", 3)):
            for i in range(count):
                write_image(folder / "photos" / split / name / f"{i}.jpg", seed=1000 * number + i + len(split))
    search, *others = _marked(FIRST)
    run_block(search, folder)
    shutil.copytree(folder / "results" / "first", folder / "results" / "second")
    for block in others:
        run_block(block, folder)


def _marked(path: Path) -> list[Block]:
    return [block for block in blocks(path) if block.words is not None]


def run_block(block: Block, folder: Path, *more: str) -> None:
    """Run the commands of a block in ``folder``; fail unless they end with the code, and the output, that it says."""
    if block.language == "python":
        if files := [word.removeprefix("file=") for word in block.words if word.startswith("file=")]:
            (folder / files[0]).write_text(block.text)
            return
        if "space" in block.words:
            (folder / "my_space.py").write_text(block.text)
            assert load_space(folder / "my_space.py")
            return
        runs = [([sys.executable, "-c", block.text], 0)]
    else:
        wanted = next((int(word[5:]) for word in block.words if word.startswith("exit=")), 0)
        runs = [([*shlex.split(command), *block.options, *more], wanted) for command in block.commands]
    for command, code in runs:
        done = run(command, folder)
        assert done.returncode == code, (
            f"{block.page}: {shlex.join(command)} ends with {done.returncode}: {done.stdout}"
        )
        if "exact" in block.words:
            assert_shows(block.output, done.stdout)


def run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run one command as a user of the environment would, in ``folder``, which is also its home."""
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).strip(os.pathsep),
        "HOME": str(folder), "COLUMNS": "100", "NO_COLOR": "1",
    }  # fmt: skip
    return subprocess.run(
        command, cwd=folder, env=environment, timeout=TIMEOUT, check=False, text=True, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def assert_shows(lines: list[str], output: str) -> None:
    """Each run of shown lines stands in the output in this order; "..." is for what is left out."""
    pattern = ".*".join(re.escape(part) for part in "\n".join(lines).strip().split("..."))
    found = re.search(pattern, output, re.DOTALL)
    assert found, f"the page shows:\n{chr(10).join(lines)}\nthe command prints:\n{output}"


MARKED = [path for path in pages() if path != FIRST and _marked(path)]
LONG_PAGES = ("own-network", "resume", "python", "run-file")  # searches that other tests make smaller


@pytest.mark.slow
@pytest.mark.parametrize(
    "page",
    [pytest.param(path, marks=[pytest.mark.long] if path.stem in LONG_PAGES else [], id=path.stem) for path in MARKED],
)
def test_marked_blocks_do_what_the_page_says(page, workspace, tmp_path):
    # A copy, because two pages may run the same study at the same time.
    folder = shutil.copytree(workspace, tmp_path / "workspace", symlinks=True)
    for block in _marked(page):
        run_block(block, folder)


def test_output_that_differs_fails():
    assert_shows(["a", "...", "c"], "a\nb\nc\n")
    with pytest.raises(AssertionError, match="the page shows"):
        assert_shows(["a", "...", "d"], "a\nb\nc\n")
