import io
import sys

from inat.tuning.live import printed as module
from inat.tuning.live.printed import LineWriter, Printed


def test_equal_lines_are_counted_at_their_latest_place_and_have_no_colours():
    printed = Printed()
    for line in ("\x1b[36mwarning\x1b[0m", "", "other", "warning  "):
        printed.add(line)
    assert printed.lines() == ["other", "warning (2 times)"]
    assert printed.lines(1) == ["warning (2 times)"]
    assert printed.take() == ["other", "warning (2 times)"]
    assert printed.take() == []


def test_early_lines_are_left_out(monkeypatch):
    monkeypatch.setattr(module, "KEPT_LINES", 2)
    printed = Printed()
    for line in "abc":
        printed.add(line)
    assert printed.take() == ["(1 earlier line is left out)", "b", "c"]


def test_a_stream_hands_on_whole_lines_and_the_last_state_of_a_bar():
    lines = []
    stream = LineWriter(lines.append, sys.__stdout__)
    print("one\ntwo", end="", file=stream)
    print(" and\r50 %\r100 %\r", file=stream)
    assert lines == ["one", "100 %"]
    stream.write("rest")
    stream.finish()
    assert lines[-1] == "rest"
    assert not stream.isatty()
    assert isinstance(stream, io.TextIOBase)
