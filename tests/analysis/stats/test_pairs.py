import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.stats.pairs import compare_pairs


def test_two_models_are_compared_on_the_images_that_one_of_them_has_right():
    # 10 + 60 images both right or both wrong, 12 only the first, 3 only the second.
    first = np.array([True] * 60 + [False] * 10 + [True] * 12 + [False] * 3)
    second = np.array([True] * 60 + [False] * 10 + [False] * 12 + [True] * 3)
    found = compare_pairs(first, second)
    assert (found["only_first"], found["only_second"]) == (12, 3)
    assert found["difference"] == pytest.approx(9 / 85)
    tail = sum(math.comb(15, k) for k in range(4)) / 2**15
    assert found["p_value"] == pytest.approx(2 * tail)
    low, high = found["difference_interval"]
    centre, width = 9 / 87, 1.959964 * math.sqrt(16 - 81 / 87) / 87
    assert (low, high) == (pytest.approx(centre - width, abs=1e-6), pytest.approx(centre + width, abs=1e-6))


def test_models_that_agree_on_all_images_do_not_differ():
    found = compare_pairs(np.array([True, False, True]), np.array([True, False, True]))
    assert (found["difference"], found["p_value"]) == (0.0, 1.0)
    assert found["difference_interval"][0] == -found["difference_interval"][1] < 0


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=50))
@settings(max_examples=30, deadline=None)
def test_the_comparison_of_two_models_is_antisymmetric(answers):
    first, second = np.array(answers).T
    one, other = compare_pairs(first, second), compare_pairs(second, first)
    assert one["difference"] == pytest.approx(first.mean() - second.mean())
    assert one["difference"] == -other["difference"]
    assert one["p_value"] == pytest.approx(other["p_value"])
    assert one["difference_interval"] == pytest.approx([-end for end in reversed(other["difference_interval"])])
