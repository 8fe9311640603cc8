import pytest
from hypothesis import given
from hypothesis import strategies as st

from inat.models.schedule import cosine_factor


def test_warmup_then_cosine_ends_at_zero():
    curve = [cosine_factor(step, total=100, warmup=10) for step in range(101)]
    assert curve[:10] == pytest.approx([(step + 1) / 11 for step in range(10)])
    assert curve[10] == 1.0
    assert curve[55] == pytest.approx(0.5)
    assert curve[100] == pytest.approx(0.0)
    assert cosine_factor(150, total=100, warmup=10) == 0.0


def test_without_warmup_it_begins_at_the_top():
    assert cosine_factor(0, total=10, warmup=0) == 1.0


@given(total=st.integers(1, 500), share=st.floats(0, 0.999))
def test_it_rises_then_falls_and_no_step_stands_still(total: int, share: float):
    warmup = round(share * total)
    curve = [cosine_factor(step, total, warmup) for step in range(total)]
    top = curve.index(max(curve))
    assert all(0 < factor <= 1 for factor in curve)
    assert curve[: top + 1] == sorted(curve[: top + 1])
    assert curve[top:] == sorted(curve[top:], reverse=True)
