import pytest

from inat.config.search import SearchConfig
from inat.tuning.budget import affordable as module
from inat.tuning.budget import rules
from inat.tuning.budget.affordable import Affordable, operations_of
from inat.tuning.budget.clock import Clock
from inat.tuning.budget.plan import make_plan
from inat.tuning.equal_cost import EqualCost
from inat.tuning.rungs import Rungs
from tests.tuning.budget.test_plan import facts, size_cost

PLAN = make_plan(facts(), [size_cost(epoch=10.0, operations=100)])


@pytest.fixture
def now(monkeypatch):
    times = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: times[0])
    return times


def check(study, epochs: int = 4) -> Affordable:
    return Affordable(study, Clock(PLAN, 1800.0), epochs, lambda params: params["operations"])


def test_a_trial_is_affordable_as_long_as_all_its_epochs_fit(study, now):
    affordable, ends = check(study), Clock(PLAN, 1800.0).search_ends
    assert affordable.seconds({"operations": 200}) == pytest.approx(20 * rules.SAFETY)
    now[0] = ends - 4 * 20 * rules.SAFETY - 0.001
    assert affordable({"operations": 200})
    now[0] += 0.002
    assert not affordable({"operations": 200})
    assert affordable({"operations": 100})


def test_the_trials_so_far_say_how_slow_the_machine_really_is(study, now):
    affordable = check(study)
    for operations, seconds in ((100, 20.0), (200, 60.0), (50, 5.0)):  # 2, 3 and 1 times what was expected
        trial = study.add_trial({"operations": operations})
        study.add_epoch(trial.trial_id, {"epoch": 1, "best_val_acc": 0.5, "seconds": seconds})
    study.add_trial({"operations": 1000})  # it has no epoch yet
    assert affordable.seconds({"operations": 300}) == pytest.approx(60.0)


def test_a_trial_of_equal_cost_has_its_own_epochs(study, now):
    def operations(params):
        return params["operations"]

    equal = EqualCost(Rungs(2, 2, 4), operations, 100, 0.1)
    affordable, ends = Affordable(study, Clock(PLAN, 1800.0), 4, operations, equal), Clock(PLAN, 1800.0).search_ends
    now[0] = ends - 4 * 10 * rules.SAFETY - 0.001
    assert affordable({"operations": 200})  # 2 epochs of 20 seconds
    assert affordable({"operations": 50})
    now[0] += 0.002
    assert not affordable({"operations": 200})


def test_hyperparameters_that_make_no_network_are_tried_and_fail(study, now):
    affordable = Affordable(study, Clock(PLAN, 1800.0), 4, lambda params: None)
    now[0] = 1e9
    assert affordable({})


def test_operations_grow_with_the_network(cnn_params):
    operations = operations_of(SearchConfig(data="digits", image_size=8), 10)
    cnn = {name: value for name, value in cnn_params.items() if name not in {"data", "image_size", "max_epochs"}}
    assert operations(cnn | {"first_layer_filters": 16}) > operations(cnn | {"first_layer_filters": 4}) > 0
    assert operations(cnn | {"conv_layers": 9}) is None
