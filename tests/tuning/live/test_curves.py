import math

from hypothesis import given
from hypothesis import strategies as st

from inat.tuning.live.curves import chart, label, sparkline

VALUES = st.lists(st.floats(width=32), min_size=1, max_size=20)


def test_a_sparkline_goes_from_its_lowest_to_its_highest_value():
    assert sparkline([1.0, 2.0, 3.0, 8.0], 10) == "▁▂▃█"
    assert sparkline([5.0, 5.0], 10) == "▅▅"
    assert sparkline([1.0, math.nan, 3.0], 10) == "▁ █"
    assert sparkline([], 10) == ""
    assert sparkline([0.0] * 50 + [1.0], 5) == "▁▁▁▁█"
    assert sparkline([0.1, 0.2], 10, ascii_only=True) == ""


def test_a_chart_has_axes_and_a_rising_line():
    lines = chart([0.1, 0.5, 0.9], 40, 8)
    assert len(lines) == 8
    assert [line[:10] for line in lines[:6]] == [
        "   0.9000│",
        "         │",
        "         │",
        "   0.5000│",
        "         │",
        "   0.1000│",
    ]
    filled = [len(line[10:]) - len(line[10:].lstrip()) for line in lines[:6]]
    assert filled == sorted(filled, reverse=True)
    assert lines[-1].split() == ["1", "3"]


def test_without_room_or_values_there_is_no_chart():
    assert chart([0.1, 0.2], 12, 10) == chart([0.1, 0.2], 40, 3) == chart([math.nan], 40, 10) == []


@given(values=VALUES, width=st.integers(0, 120), height=st.integers(0, 40), ascii_only=st.booleans())
def test_curves_of_all_values_fit(values, width, height, ascii_only):
    assert len(sparkline(values, width)) <= width
    lines = chart(values, width, height, ascii_only=ascii_only)
    assert len(lines) in (0, height)
    assert all(len(line) <= width for line in lines)
    assert all(len(label(value)) <= 9 for value in values)
