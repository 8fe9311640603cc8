"""The command `inat`, as a user types it."""

import dataclasses
import subprocess
import sys

import pytest

from inat.__main__ import COMMANDS, run
from inat.config.finetune import FinetuneConfig
from inat.config.search import SearchConfig
from inat.summary import SummaryCommand
from tests.paths import ROOT

SUBCOMMANDS = [("interpret", "predictions"), ("interpret", "filters"), ("interpret", "guided-backprop"),
               ("interpret", "all"), ("cluster", "check"), ("cluster", "wait"), ("cluster", "status")]  # fmt: skip


def inat(*words: str, python: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *python, "-m", "inat", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=ROOT)


def test_help_lists_every_command_on_one_line():
    done = inat("--help")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    for name, command in COMMANDS.items():
        assert [line for line in lines if line.split()[:1] == [name]] == [f"  {name:14}{command.line}"]
    assert max(map(len, lines)) <= 80


def test_no_command_is_a_usage_error_that_lists_the_commands():
    done = inat()
    assert (done.returncode, done.stdout) == (2, "")
    assert "tune-scratch" in done.stderr


@pytest.mark.parametrize(
    ("name", "hint"), [("predcit", "did you mean 'predict'?"), ("zzz", "`inat --help` lists all commands")]
)
def test_an_unknown_command_is_one_line(name, hint):
    done = inat(name)
    assert (done.returncode, done.stderr) == (2, f"error: unknown command {name!r}; {hint}\n")


def test_a_command_is_its_module():
    options = ["--image-size", "32", "--conv-layers", "2"]
    module = [sys.executable, "-m", "inat.summary", *options]
    expected = subprocess.run(module, capture_output=True, text=True, timeout=120, check=True, cwd=ROOT).stdout
    assert "dense" in expected
    assert inat("summary", *options).stdout == expected


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("tune-scratch", "--num-samples", "0"), "--num-samples must be positive, got 0"),
        (("tune-finetune", "--backbones", "resnet"), "unknown backbone 'resnet'; choose from googlenet"),
        (("finalize", "results/STUDY", "--top", "0"), "--top must be positive, got 0"),
        (("summary", "--num-classes", "-1"), "--num-classes must be positive, got -1"),
        (("cluster", "check", "--max-skew", "-1"), "--max-skew must be a finite number of at least 0, got -1"),
    ],
)
def test_usage_errors_show_before_the_libraries_load(words, message):
    # -X importtime lists every module that the process loaded.
    done = inat(*words, python=("-X", "importtime"))
    assert done.returncode == 2
    assert f"error: {message}" in done.stderr
    loaded = {line.split("|")[-1].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert "inat.cli" in loaded
    assert not loaded & {"torch", "ray", "pytorch_lightning", "optuna"}


@pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")
@pytest.mark.parametrize("words", [*((name,) for name in COMMANDS), *SUBCOMMANDS], ids=" ".join)
def test_help_of_every_command_reads_as_a_person_writes_and_fits_80_columns(words, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["inat"])
    monkeypatch.setenv("COLUMNS", "80")
    name, *others = words
    with pytest.raises(SystemExit) as exit_info:
        run(name, [*others, "--help"])
    assert exit_info.value.code == 0
    text = capsys.readouterr().out
    assert text.startswith(f"usage: inat {name} ")
    assert max(map(len, text.splitlines())) <= 80
    for machine_word in ("None}", "|None", "(default", "{None"):
        assert machine_word not in text


@pytest.mark.parametrize("kind", [SearchConfig, FinetuneConfig, SummaryCommand])
def test_each_option_is_in_one_group(kind):
    grouped = [name for names in kind.OPTION_GROUPS.values() for name in names]
    used = {field.name for field in dataclasses.fields(kind)} - getattr(kind, "UNUSED", frozenset())
    assert sorted(grouped) == sorted(used)
