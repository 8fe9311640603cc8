import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from inat.cli import guard, parse, parse_search
from inat.config.search import SearchConfig
from inat.errors import ConfigError, SearchError
from inat.study.study import Study
from inat.tuning.describe_search import resume_command
from tests.paths import ROOT


def run_script(*args: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, str(ROOT / "tune_scratch.py"), *args]
    return subprocess.run(words, capture_output=True, text=True, timeout=timeout, check=False)


def test_options_become_settings():
    config = parse_search(SearchConfig, "", ["--data", "digits", "--num-samples", "7", "--gpus-per-trial", "0.5"])
    assert (config.data, config.num_samples, config.gpus_per_trial) == ("digits", 7, 0.5)


@pytest.mark.parametrize(("error", "code"), [(ConfigError("wrong"), 2), (SearchError("failed"), 1)])
def test_errors_are_one_line_and_an_exit_code(error, code, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["tune_scratch.py"])

    def fail():
        raise error

    with pytest.raises(SystemExit) as exit_info:
        guard(fail)
    assert exit_info.value.code == code
    assert capsys.readouterr().err == f"error: {error}\n"


@pytest.mark.parametrize(
    ("options", "message"),
    [(["--num-samples", "-3"], "--num-samples must be positive, got -3"),
     (["--max-epochs", "2", "--grace-period", "3"], "--grace-period 3 is above --max-epochs 2"),
     (["--name", "a/b"], "--name 'a/b' must be a plain folder name"),
     (["--patience", "0", "--keep-checkpoints", "0"], "--patience must be positive, got 0; --keep-checkpoints must")],
)  # fmt: skip
def test_messages_name_options_as_the_user_types_them(options, message):
    with pytest.raises(ConfigError, match=f"^{message}"):
        parse(SearchConfig, args=["--data", "digits", *options])


@pytest.mark.parametrize(("kernel", "lines"), [("7", True), (None, False)])
def test_commands_print_lines_in_the_cells_of_a_notebook(kernel, lines, monkeypatch):
    monkeypatch.setattr("os.environ", {"FORCE_COLOR": "1"} | ({"JPY_PARENT_PID": kernel} if kernel else {}))
    drawn = []
    guard(lambda: drawn.append(Console(_environ=os.environ).is_terminal))
    assert drawn == [not lines]


def test_an_error_of_the_system_is_one_line_with_the_place(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["tune_scratch.py"])
    with pytest.raises(SystemExit) as exit_info:
        guard(lambda: Path("/nowhere/at/all").read_text())
    assert exit_info.value.code == 1
    error = capsys.readouterr().err
    assert error.startswith("error: /nowhere/at/all cannot be used (No such file or directory); check that it exists")
    assert error.count("\n") == 1


def test_a_removed_current_folder_is_told(tmp_path):
    (tmp_path / "gone").mkdir()
    script = f"cd {tmp_path}/gone; rmdir {tmp_path}/gone; exec {sys.executable} {ROOT}/tune_scratch.py --data digits"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: the current folder has been removed; change to another one and start again\n"


@pytest.mark.parametrize("module", ["inat.data.cache", "inat.cluster", "analysis", "inat"])
def test_help_without_docstrings_shows_the_options(module):
    command = [sys.executable, "-OO", "-m", module, "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "usage:" in done.stdout


def test_a_search_without_docstrings_is_refused():
    command = [sys.executable, "-OO", str(ROOT / "tune_scratch.py"), "--data", "digits"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "error: Ray does not work under `python -OO`" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become a user without a home")
def test_a_user_without_a_home_gets_help():
    python, packages = shutil.which("python3", path="/usr/bin"), ":".join([str(ROOT), *sys.path])
    if python is None or shutil.which("setpriv") is None:
        pytest.skip("needs a Python that other users may run, and setpriv")
    user = ["setpriv", "--reuid", "12345", "--regid", "12345", "--clear-groups", "env", "-i", f"PYTHONPATH={packages}"]
    done = subprocess.run([*user, python, "tune_scratch.py", "--help"], cwd=ROOT, capture_output=True, text=True,
                          timeout=60, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_debug_shows_the_traceback(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["tune_scratch.py", "--debug"])

    def fail():
        raise ConfigError("wrong")

    with pytest.raises(ConfigError):
        guard(fail)


def test_help_explains_every_option():
    done = run_script("--help")
    assert done.returncode == 0
    text = " ".join(done.stdout.split())
    for option in ("--data", "--num-samples", "--max-epochs", "--resume", "--gpus-per-trial", "--wandb"):
        assert option in text
    assert "480" in text
    assert "pixels" in text


def test_unknown_option_exits_with_2():
    done = run_script("--num-sample", "3")
    assert done.returncode == 2
    assert "--num-samples" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_impossible_settings_show_before_the_libraries_load(tmp_path):
    # -X importtime lists every module the process loaded.
    words = [sys.executable, "-X", "importtime", str(ROOT / "tune_scratch.py"), "--num-samples", "0"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "error: --num-samples must be positive, got 0" in done.stderr
    loaded = {line.split("|")[-1].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert "inat.config" in loaded
    assert not loaded & {"torch", "ray", "pytorch_lightning", "optuna"}


def test_resume_checks_options_against_the_study_and_not_against_the_defaults(tmp_path):
    stored = parse_search(SearchConfig, "", ["--data", "digits", "--max-epochs", "2", "--grace-period", "1"])
    Study.create(tmp_path / "study", {"config": stored.to_json()}).close()
    assert parse_search(SearchConfig, "", ["--resume", str(tmp_path / "study"), "--max-epochs", "2"]).grace_period == 1


def test_missing_data_names_the_path_and_the_next_step(tmp_path):
    done = run_script("--data", str(tmp_path / "nowhere"))
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert str(tmp_path / "nowhere") in done.stderr
    assert "--data" in done.stderr


def test_resume_takes_the_studys_settings(tmp_path):
    stored = parse_search(SearchConfig, "", ["--data", "digits", "--image-size", "16", "--num-samples", "5"])
    Study.create(tmp_path / "study", {"config": stored.to_json()}).close()
    resumed = parse_search(SearchConfig, "", ["--resume", str(tmp_path / "study"), "--num-samples", "9"])
    assert (resumed.image_size, resumed.num_samples, resumed.resume) == (16, 9, tmp_path / "study")
    spelt_out = ["--resume", str(tmp_path / "study"), "--image-size", "16", "--space", "small"]
    same = parse_search(SearchConfig, "", spelt_out)
    assert same.num_samples == 5  # spelling out what was automatic changes nothing
    with pytest.raises(ConfigError, match="--name other differs from the study's None"):
        parse_search(SearchConfig, "", ["--resume", str(tmp_path / "study"), "--name", "other"])
    with pytest.raises(ConfigError, match="--image-size 32 differs from the study's 16"):
        parse_search(SearchConfig, "", ["--resume", str(tmp_path / "study"), "--image-size", "32"])


def test_a_space_that_only_the_study_names_is_not_run(tmp_path):
    space, ran = tmp_path / "space.py", tmp_path / "ran"
    space.write_text(f"from pathlib import Path\nPath('{ran}').touch()\ndef space(): return {{'dropout': 0.2}}\n")
    stored = parse_search(SearchConfig, "", ["--data", "digits", "--space", str(space)])
    Study.create(tmp_path / "study", {"config": stored.to_json()}).close()
    done = run_script("--resume", str(tmp_path / "study"))
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {tmp_path / 'study'} names files, folders or servers outside of it, which")
    assert done.stderr.endswith(f"are used only if you name them, too; add --space {space}\n")
    assert not ran.exists()
    named = ["--resume", str(tmp_path / "study"), f"--space={space}"]
    assert parse_search(SearchConfig, "", named).space == str(space)
    assert resume_command(Study.open(tmp_path / "study")).endswith(f"--space {space}")


def test_control_characters_in_an_error_do_not_reach_the_terminal(capsys):
    def fail():
        raise ConfigError("no photo \x1b[31m\x07a\u202eb.jpg")

    with pytest.raises(SystemExit):
        guard(fail)
    assert capsys.readouterr().err == "error: no photo \\x1b[31m\\x07a\\u202eb.jpg\n"
