"""Wilson's interval against its formula, its coverage, and its ends."""

from math import sqrt

import numpy as np
import pytest

from analysis.stats.shares import share_interval, wilson_interval


def by_formula(share: float, n: int) -> tuple[float, float]:
    z = 1.959963984540054
    centre, reach = share + z * z / (2 * n), z * sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return (centre - reach) / (1 + z * z / n), (centre + reach) / (1 + z * z / n)


@pytest.mark.parametrize(("hits", "images"), [(0, 5), (45, 50), (300, 545), (7, 7)])
def test_the_interval_is_that_of_the_formula(hits, images):
    assert wilson_interval(hits, images) == pytest.approx(by_formula(hits / images, images), abs=1e-9)
    assert share_interval(hits / images, images) == wilson_interval(hits, images)


def test_the_interval_holds_a_share_near_1_in_almost_95_percent_of_samples():
    # A percentile bootstrap holds it in 64 %.
    hits = np.random.default_rng(0).binomial(50, 0.98, 1000)
    ends = {count: wilson_interval(int(count), 50) for count in set(hits.tolist())}
    assert np.mean([ends[count][0] <= 0.98 <= ends[count][1] for count in hits.tolist()]) > 0.9


def test_the_interval_has_a_width_if_all_are_hits():
    low, high = wilson_interval(50, 50)
    assert low == pytest.approx(0.9287, abs=1e-4)
    assert high == 1.0
