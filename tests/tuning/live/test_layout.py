"""The page as recorded text at three sizes; `UPDATE_PAGES=1 pytest tests/tuning/live` records it anew."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from inat.config.objective import OBJECTIVES
from inat.tuning.live.keys import ViewState
from inat.tuning.live.layout import as_text, format_rough, render
from inat.tuning.live.snapshot import Snapshot
from tests.tuning.live.conftest import trial

PAGES = Path(__file__).parent / "pages"
SIZES = [(80, 24), (120, 40), (200, 60)]


@pytest.mark.parametrize(("width", "height"), SIZES)
@pytest.mark.parametrize(
    ("name", "state"), [("table", ViewState(chosen="t0007")), ("details", ViewState(chosen="t0002", details=True))]
)
def test_the_page_is_as_recorded(snapshot, name, state, width, height):
    text = "\n".join(as_text(snapshot, state, width, height)) + "\n"
    path = PAGES / f"{name}-{width}x{height}.txt"
    if "UPDATE_PAGES" in os.environ:
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    assert text == path.read_text()


@given(
    width=st.integers(1, 220), height=st.integers(1, 70), running=st.integers(0, 80), ended=st.integers(0, 80),
    chosen=st.integers(0, 200), details=st.booleans(), ascii_only=st.booleans(),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_the_page_fits_every_terminal(width, height, running, ended, chosen, details, ascii_only):
    trials = [trial(number, place=f"node-{number % 3}", name="日本\x1b[2J" * 9) for number in range(running + ended)]
    page = Snapshot("a" * 50, wanted=99, running=tuple(trials[:running]), ended=tuple(trials[running:]), can_end=True)
    state = ViewState(chosen=f"t{chosen:04}", details=details)
    lines = [line.plain for line in render(page, state, width, height, ascii_only=ascii_only).renderables]
    assert len(lines) == height
    assert max(map(cell_len, lines)) <= width
    assert "\x1b" not in "".join(lines)
    if chosen < running + ended and width >= 80 and height >= 24:
        assert any(line.startswith(f"t{chosen:04}") for line in lines)


def test_ascii_terminals_get_ascii(snapshot):
    page = render(snapshot, ViewState(), 100, 30, ascii_only=True)
    assert all(line.plain.isascii() for line in page.renderables)


def test_a_snapshot_that_knows_little_is_shown_too():
    lines = as_text(Snapshot("new"), ViewState(), 80, 24)
    assert lines[0] == "new  running"
    assert lines[1] == "best accuracy -"
    assert lines[3] == "time left is known after the first epoch"


def test_one_ended_trial_is_one_trial(snapshot):
    one = replace(snapshot, wanted=None, ended=snapshot.ended[:1])
    assert as_text(one, ViewState(), 120, 24)[2].startswith("1 trial ended: ")


def test_the_result_stands_at_the_top(snapshot):
    lines = as_text(replace(snapshot, result="test accuracy 0.5000", during=" in the search"), ViewState(), 120, 24)
    assert lines[3].startswith("12 min 30 s of 1 h 0 min gone in the search (")
    assert lines[4] == "test accuracy 0.5000"


def test_the_best_is_named_by_the_objective_and_is_not_a_failed_trial_of_the_table(snapshot):
    loss = replace(snapshot, objective=OBJECTIVES["val_loss"])
    assert as_text(loss, ViewState(), 80, 24)[1].startswith("best loss 0.7422  t0008 epoch 9, running")
    rows = [line[:5] for line in as_text(loss, ViewState(order="best"), 80, 24) if line.startswith("t0")]
    assert rows == ["t0006", "t0007", "t0008", "t0005", "t0003", "t0001", "t0002", "t0000", "t0004"]


def test_a_trial_of_equal_cost_has_its_own_most_epochs(snapshot):
    cheap = replace(snapshot.running[1], epoch_cost=0.25)
    lines = "\n".join(as_text(replace(snapshot, running=(cheap,)), ViewState(), 120, 40))
    assert f"{cheap.epoch}/108" in lines
    assert "27/27" in lines


def test_nodes_have_a_column_where_there_are_several(snapshot):
    assert "node" not in as_text(snapshot, ViewState(), 120, 40)[6]
    ended = tuple(replace(each, place=f"gpu-{each.number}") for each in snapshot.ended)
    lines = as_text(replace(snapshot, ended=ended), ViewState(), 120, 40)
    assert " node " in lines[6]
    assert any("gpu-3" in line for line in lines)


def test_rough_times_have_no_digits_that_they_cannot_have():
    assert [format_rough(seconds) for seconds in (0, 7, 3000, 9000)] == ["10 s", "10 s", "50 min", "2 h 30 min"]
