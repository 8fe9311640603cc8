"""`inat watch` where there is no terminal: the page once, with whole commands, for readers that may leave."""

import subprocess
import sys
from dataclasses import replace

import pytest

from inat.study.study import Study
from inat.tuning.live.watching import printed_lines
from tests.paths import ROOT


def test_commands_are_whole_and_follow_the_table(snapshot):
    command = f"inat watch {'results/' * 20}last"
    lines = "\n".join(printed_lines(replace(snapshot, messages=("it has begun", command)), 80)).splitlines()
    assert lines[-2:] == ["it has begun", command]
    assert lines[-3].startswith("t0000")  # without empty lines before the messages
    assert max(map(len, lines[:-1])) <= 80


def test_names_cannot_move_the_cursor(snapshot):
    assert printed_lines(replace(snapshot, messages=("\x1b[2J",)), 80)[-1] == r"\x1b[2J"


@pytest.fixture
def directory(tmp_path):
    study = Study.create(tmp_path / "study", {"config": {"num_samples": 3}})
    study.add_trial({"x": 1})
    study.close()
    return study.directory


def test_a_reader_that_leaves_ends_it_without_a_word(directory):
    command = [sys.executable, "-m", "inat", "watch", str(directory)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(60) == 141
