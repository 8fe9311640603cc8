import numpy as np
import pytest
from ray import tune
from ray.tune.search.optuna import OptunaSearch

from inat.tuning.space.domains import all_values, boundary_values, optuna_distribution, optuna_space, to_domain_value

DOMAINS = {
    "choice": tune.choice(["a", "b"]), "mixed": tune.choice([None, 1, 0.5, True, "x"]), "one": tune.choice([3]),
    "uniform": tune.uniform(0.0, 0.5), "whole": tune.uniform(-1, 2), "quniform": tune.quniform(0.0, 1.0, 0.25),
    "loguniform": tune.loguniform(1e-4, 1e-1),
    "qloguniform": tune.qloguniform(0.1, 1.0, 0.1), "randint": tune.randint(2, 6), "qrandint": tune.qrandint(8, 32, 8),
    "uneven_int": tune.qrandint(8, 30, 8), "lograndint": tune.lograndint(1, 100), "narrow": tune.randint(3, 4),
    "numpy": tune.qrandint(np.int64(8), np.int64(32), np.int64(8)), "numpy_step": tune.quniform(0, 1, np.float64(0.5)),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:The distribution is specified by")
@pytest.mark.parametrize("name", DOMAINS)
def test_a_domain_becomes_the_distribution_that_rays_optuna_search_uses(name):
    expected = OptunaSearch.convert_search_space({name: DOMAINS[name]})[name]
    found = optuna_distribution(DOMAINS[name])
    assert type(found) is type(expected)
    assert found == expected
    assert {key: (type(value), repr(value)) for key, value in vars(found).items()} == {
        key: (type(value), repr(value)) for key, value in vars(expected).items()
    }


@pytest.mark.filterwarnings("ignore:The distribution is specified by")
def test_a_space_keeps_the_order_of_its_hyperparameters():
    # RandomSampler draws the values in this order.
    space = dict(reversed(DOMAINS.items()))
    assert list(optuna_space(space).items()) == list(OptunaSearch.convert_search_space(space).items())


REFUSED = {
    "randn": tune.randn(0, 1), "qrandn": tune.qrandn(0, 1, 0.1), "sample_from": tune.sample_from(lambda spec: 1),
    "qlograndint": tune.qlograndint(8, 64, 8), "reversed": tune.uniform(1.0, 0.0),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_a_domain_that_optuna_does_not_have_is_refused_as_ray_refuses_it(name):
    with pytest.raises(ValueError, match=r".") as rays:
        OptunaSearch.convert_search_space({name: REFUSED[name]})
    with pytest.raises(type(rays.value)):
        optuna_distribution(REFUSED[name])


@pytest.mark.parametrize(
    ("domain", "listed"),
    [
        (tune.choice(["a", None]), ["a", None]),
        (tune.randint(2, 5), [2, 3, 4]),
        (tune.qrandint(8, 32, 8), [8, 16, 24, 32]),
        (tune.lograndint(1, 4), [1, 2, 3]),
    ],
)
def test_all_values_are_the_values_that_the_sampler_can_draw(domain, listed):
    assert list(all_values(domain)) == listed
    assert [to_domain_value(domain, value) for value in listed] == listed
    assert (boundary_values(domain)[0], boundary_values(domain)[-1]) == (listed[0], listed[-1])


def test_the_bounds_of_a_range_belong_to_it():
    assert boundary_values(tune.uniform(0, 0.5)) == (0.0, 0.5)
    assert boundary_values(tune.qrandint(8, 30, 8)) == (8, 24)


@pytest.mark.parametrize(
    ("domain", "value"),
    [
        (tune.choice([1, 2]), 3), (tune.randint(2, 5), 5), (tune.randint(2, 5), 2.5), (tune.qrandint(8, 32, 8), 12),
        (tune.quniform(0.0, 1.0, 0.25), 0.3), (tune.uniform(0.0, 0.5), 0.6), (tune.loguniform(1e-4, 1e-1), 0.0),
        (tune.uniform(0.0, 0.5), float("nan")), (tune.uniform(0.0, 1.0), True), (tune.uniform(0.0, 1.0), "0.5"),
    ],
)  # fmt: skip
def test_a_value_outside_the_domain_is_refused(domain, value):
    with pytest.raises(ValueError, match=r"."):
        to_domain_value(domain, value)
