import pytest

from inat.data.inspect import command as module
from inat.data.inspect.command import inspect
from inat.data.inspect.options import InspectCommand
from inat.data.inspect.search_time import SearchTime
from inat.errors import DataError


@pytest.fixture(autouse=True)
def no_measurement(monkeypatch):
    monkeypatch.setattr(module, "estimate_search_time", lambda *_: SearchTime(60, 480, 2, "2 cores"))


@pytest.fixture
def command(photos, tmp_path):
    def make(**options) -> InspectCommand:
        defaults = {"image_size": 32, "cache_dir": tmp_path / "cache", "output": tmp_path / "page.html"}
        return InspectCommand(photos=str(photos), **{**defaults, **options})

    return make


def test_it_prints_and_writes_a_page(command, tmp_path, capsys):
    inspect(command())
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2].startswith("next        python tune_scratch.py --data ")
    assert lines[-2].endswith(" --time-budget 30m")
    assert lines[-1] == lines[-2].replace("next", "or  ", 1).removesuffix(" --time-budget 30m")
    assert f"page        {tmp_path / 'page.html'}" in lines
    assert (tmp_path / "page.html").read_text().startswith("<!DOCTYPE html>")


def test_what_cannot_be_trained_on_is_inspected_and_then_an_error(command, tmp_path, photos, capsys):
    for split in ("train", "val"):
        (photos / split / "fish").rename(photos / split / ".hidden")
    with pytest.raises(DataError, match="has the single class 'bird'") as error:
        inspect(command())
    assert error.value.exit_code == 2
    out = capsys.readouterr().out
    assert "next  " not in out
    assert "search  " not in out
    assert "has the single class" in (tmp_path / "page.html").read_text()


def test_a_page_that_cannot_be_written_is_an_error(command, tmp_path):
    with pytest.raises(DataError, match=r"cannot write .*; pass --output FILE.html"):
        inspect(command(output=tmp_path / "no" / "page.html"))
