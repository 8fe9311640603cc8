import pytest
from hypothesis import given
from hypothesis import strategies as st

from inat.config.optim import OptimConfig
from inat.models.schedules import cosine_factor, trapezoid_factor, two_phase_factor


def optim(schedule: str = "cosine", **changes) -> OptimConfig:
    return OptimConfig(learning_rate=0.1, batch_size=8, schedule=schedule, **changes)


def test_two_phases_each_warm_up_and_fall_along_a_cosine():
    curve = [two_phase_factor(step, 100, 30, optim(warmup_share=0.1)) for step in range(100)]
    assert curve[:30] == [cosine_factor(step, 30, 3) for step in range(30)]
    assert curve[30:] == [cosine_factor(step, 70, 7) for step in range(70)]
    assert curve[29] < 0.01 < curve[30] < curve[36] < curve[37] == 1


@given(st.integers(1, 500), st.floats(0, 0.9))
def test_one_phase_is_the_curve_of_earlier_versions(total, share):
    options = optim(warmup_share=share)
    curve = [two_phase_factor(step, total, 0, options) for step in range(total)]
    assert curve == [cosine_factor(step, total, round(share * total)) for step in range(total)]


def test_the_schedule_of_the_options_is_used_with_its_shares():
    options = optim("trapezoid", warmup_share=0.2, decay_share=0.5)
    curve = [two_phase_factor(step, 10, 0, options) for step in range(10)]
    assert curve == pytest.approx([1 / 3, 2 / 3, 1, 1, 1, 1, 0.8, 0.6, 0.4, 0.2])


def test_warmup_then_cosine_ends_at_zero():
    curve = [cosine_factor(step, total=100, warmup=10) for step in range(101)]
    assert curve[:10] == pytest.approx([(step + 1) / 11 for step in range(10)])
    assert curve[10] == 1.0
    assert curve[55] == pytest.approx(0.5)
    assert curve[100] == pytest.approx(0.0)
    assert cosine_factor(150, total=100, warmup=10) == 0.0


def test_without_warmup_the_cosine_begins_at_1():
    assert cosine_factor(0, total=10, warmup=0) == 1.0


@given(total=st.integers(1, 500), share=st.floats(0, 0.999), decay=st.floats(0, 0.999))
def test_a_factor_rises_then_falls_and_is_never_0_in_a_step(total: int, share: float, decay: float):
    warmup = round(share * total)
    for curve in (
        [cosine_factor(step, total, warmup) for step in range(total)],
        [trapezoid_factor(step, total, warmup, round(decay * total)) for step in range(total)],
    ):
        top = curve.index(max(curve))
        assert all(0 < factor <= 1 for factor in curve)
        assert curve[: top + 1] == sorted(curve[: top + 1])
        assert curve[top:] == sorted(curve[top:], reverse=True)


@given(total=st.integers(10, 500), longer=st.integers(1, 500), decay=st.integers(0, 5))
def test_before_its_decay_a_trapezoid_does_not_depend_on_the_number_of_steps(total, longer, decay):
    short, long = ([trapezoid_factor(step, end, 3, decay) for step in range(total)] for end in (total, total + longer))
    assert short[: total - decay] == long[: total - decay]
    assert trapezoid_factor(total, total, 3, decay) == 0.0
