"""The command that follows, as the caller would type it."""

import shlex
import sys
from types import SimpleNamespace

import pytest

from inat.caller import called_from_python
from inat.finalize.messages import describe_next as after_finalize
from inat.next_step import next_command
from inat.study.study import Study
from inat.tuning.describe_result import describe_next as after_search


@pytest.fixture
def started_as(monkeypatch):
    """Pretends that the user has typed this command."""

    def start(command: str) -> None:
        monkeypatch.setitem(sys.modules, "__main__", SimpleNamespace(__started_as__=command))
        monkeypatch.setattr(sys, "argv", [command, "my study", "--seeds", "3"])

    return start


@pytest.mark.parametrize(
    ("command", "finalize", "search"),
    [("inat tune-scratch", ["inat", "finalize"], ["inat", "tune-scratch"]),
     ("python tune_scratch.py", ["python", "-m", "inat.finalize"], ["python", "tune_scratch.py"])],
)  # fmt: skip
def test_it_is_of_the_form_in_which_the_program_was_started(started_as, command, finalize, search):
    started_as(command)
    assert shlex.split(next_command("finalize", "my study", weights_dir="/a b", ship=True)) == [
        *finalize, "my study", "--weights-dir", "/a b", "--ship",
    ]  # fmt: skip
    assert shlex.split(next_command("tune-scratch", "--data", "x")) == [*search, "--data", "x"]


def test_in_python_it_is_a_call():
    with called_from_python():
        assert next_command("finalize", "my study", cache_dir="/fast") == "inat.finalize('my study', cache_dir='/fast')"


def test_after_a_search_it_chooses_the_final_model_with_the_places_that_must_be_named(tmp_path, started_as):
    started_as("inat tune-scratch")
    study = Study.create(tmp_path / "my study", {"config": {"cache_dir": "/fast", "address": "auto"}})
    assert after_search(study) == ""  # no weights
    (study.directory / "best.ckpt").touch()
    line = after_search(study)
    assert line.startswith("next    ")
    assert shlex.split(line)[1:] == ["inat", "finalize", str(study.directory), "--cache-dir", "/fast"]
    study.info["own_objective"] = "score"
    assert after_search(study) == ""


def test_after_finalize_it_classifies_photos_and_ships(tmp_path, started_as):
    started_as("inat finalize")
    folder = tmp_path / "my photos"
    folder.mkdir()
    final = tmp_path / "S" / "final"
    predict, ship = after_finalize(final, str(folder), shipped=False).splitlines()
    assert shlex.split(predict) == ["next", "inat", "predict", str(final), str(folder)]
    assert shlex.split(ship, comments=True) == ["or", "inat", "finalize", "my study", "--seeds", "3", "--ship"]
    assert after_finalize(final, "digits", shipped=True) == f"next    inat predict {final} FOLDER"
    with called_from_python():
        assert after_finalize(final, "digits", shipped=True) == f"next    inat.load_model('{final}').predict('FOLDER')"
