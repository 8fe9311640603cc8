import pytest

from inat.tuning.equal_cost import EqualCost, compares_at_equal_cost
from inat.tuning.rungs import Rungs

RUNGS = Rungs(grace=4, factor=3, max_epochs=12)


def equal_cost(**options) -> EqualCost:
    return EqualCost(RUNGS, lambda params: params.get("operations"), 100, **{"least": 1 / 3} | options)


@pytest.mark.parametrize(("operations", "cost", "epochs", "rung"), [
    (100, 1.0, 12, 4), (200, 2.0, 6, 2), (50, 0.5, 24, 8), (10, 0.333, 36, 12), (None, 1.0, 12, 4),
])  # fmt: skip
def test_a_network_trains_for_the_epochs_that_cost_those_of_the_recipe(study, operations, cost, epochs, rung):
    costs, params = equal_cost(), {"operations": operations}
    assert (costs.epoch_cost(params), costs.epochs(params)) == (cost, epochs)
    trial = study.add_trial(params, epoch_cost=cost)
    assert costs.settings(trial) == {"max_epochs": epochs, "patience": epochs, "rungs": [rung]}


def test_a_patience_of_the_user_stays(study):
    assert "patience" not in equal_cost(endless_patience=False).settings(study.add_trial({}, epoch_cost=0.5))


def test_a_network_with_too_few_epochs_is_not_trained():
    assert equal_cost().is_trained({"operations": 266})  # 5 epochs
    assert not equal_cost().is_trained({"operations": 267})
    short = EqualCost(Rungs(1, 3, 3), lambda params: params["operations"], 100, 1 / 3)
    assert short.is_trained({"operations": 100})  # the recipe itself has no more
    assert not short.is_trained({"operations": 200})


def test_studies_of_earlier_versions_compare_at_equal_epochs():
    assert compares_at_equal_cost({"compared_at": "recipe_epoch"})
    assert not compares_at_equal_cost({})
