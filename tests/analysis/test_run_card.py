import sys
from types import SimpleNamespace

import pytest

from analysis.run_card import STARTED_AS, program, run_card


@pytest.fixture
def started(monkeypatch):
    def start(name: str | None, **attributes) -> None:
        spec = None if name is None else SimpleNamespace(name=name)
        monkeypatch.setitem(sys.modules, "__main__", SimpleNamespace(__spec__=spec, **attributes))

    return start


def test_the_program_is_what_the_user_typed(started, monkeypatch):
    started("inat.cluster.__main__")
    assert program() == "python -m inat.cluster"
    started("inat.predict", **{STARTED_AS: "inat predict"})
    assert program() == "inat predict"
    started(None)
    monkeypatch.setattr(sys, "argv", ["my folder/tune_scratch.py", "--help"])
    assert program() == "python 'my folder/tune_scratch.py'"


def test_a_script_below_the_working_directory_has_no_absolute_path_in_its_usage(started, monkeypatch, tmp_path):
    started(None)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(tmp_path / "tune_scratch.py")])
    assert program() == "python tune_scratch.py"
    monkeypatch.setattr(sys, "argv", ["/elsewhere/tune_scratch.py"])
    assert program() == "python /elsewhere/tune_scratch.py"


def test_examples_name_the_command_as_it_was_started(started):
    card = "Search.\n\n    python tune_scratch.py --seed 1\n\nSee also python -m inat.predict."
    started("inat.tune_scratch", **{STARTED_AS: "inat tune-scratch"})
    assert run_card(card) == "Search.\n\nExamples:\n    inat tune-scratch --seed 1\n\nSee also python -m inat.predict."
    started(None)
    assert "    python tune_scratch.py --seed 1" in run_card(card)


def test_comments_stay_beside_short_examples_and_move_above_long_ones():
    short = "Do.\n\npython a.py      # first\npython a.py --x  # second"
    assert run_card(short).splitlines()[3:] == ["    python a.py      # first", "    python a.py --x  # second"]
    command = 'python a.py --data PHOTOS --image-size 64 --space modern --patience 27 --name "a b c d e f g h i"'
    long = f"{short}\n    {command}"
    shown = run_card(long).splitlines()
    assert shown[3:7] == ["    # first", "    python a.py", "    # second", "    python a.py --x"]
    assert shown[7].endswith("--space modern \\")
    assert shown[8] == '        --patience 27 --name "a b c d e f g h i"'
    assert max(map(len, shown)) <= 79


def test_paragraphs_are_wrapped_with_a_hanging_indent():
    lines = run_card("word " * 40).splitlines()
    assert len(lines) == 3
    assert max(map(len, lines)) <= 79
    assert all(line.startswith("  word") for line in lines[1:])
