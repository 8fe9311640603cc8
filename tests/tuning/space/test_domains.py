import pytest
from ray import tune

from inat.tuning.space.domains import distribution, ends, values


@pytest.mark.parametrize(
    ("domain", "listed"),
    [
        (tune.choice(["a", None]), ["a", None]),
        (tune.randint(2, 5), [2, 3, 4]),
        (tune.qrandint(8, 32, 8), [8, 16, 24, 32]),
        (tune.lograndint(1, 4), [1, 2, 3]),
    ],
)
def test_all_values_are_those_that_the_sampler_has(domain, listed):
    assert list(values(domain)) == listed
    assert all(distribution(domain)._contains(distribution(domain).to_internal_repr(value)) for value in listed)
    assert (ends(domain)[0], ends(domain)[-1]) == (listed[0], listed[-1])


def test_the_ends_of_a_range_belong_to_it():
    assert ends(tune.uniform(0, 0.5)) == (0.0, 0.5)
    assert ends(tune.qrandint(8, 30, 8)) == (8, 24)
