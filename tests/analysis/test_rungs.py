from hypothesis import given
from hypothesis import strategies as st

from analysis.rungs import cost_reached, cost_within, epochs_at

costs = st.integers(1, 60)
epochs = st.integers(1, 60)
epoch_costs = st.floats(0.02, 20.0).map(lambda cost: round(cost, 3))


@given(costs, epochs)
def test_an_epoch_that_costs_1_is_an_epoch_of_the_recipe(cost, epoch):
    assert epochs_at(cost, 1.0) == cost
    assert cost_reached(epoch, 1.0) == cost_within(epoch, 1.0) == epoch


@given(costs, epoch_costs)
def test_a_trial_is_compared_at_the_nearest_end_of_an_epoch(cost, epoch_cost):
    nearest = min(range(1, 5000), key=lambda epoch: abs(round(1000 * epoch_cost) * epoch - 1000 * cost))
    assert epochs_at(cost, epoch_cost) == nearest


@given(epochs, epoch_costs)
def test_the_cost_reached_is_the_highest_whose_epochs_are_over(epoch, epoch_cost):
    reached = cost_reached(epoch, epoch_cost)
    assert reached < 1 or epochs_at(reached, epoch_cost) <= epoch
    assert epochs_at(reached + 1, epoch_cost) > epoch


@given(epochs, epoch_costs)
def test_the_cost_within_is_the_lowest_that_takes_the_epoch_in(epoch, epoch_cost):
    within = cost_within(epoch, epoch_cost)
    assert epochs_at(within, epoch_cost) >= epoch
    assert within == 1 or epochs_at(within - 1, epoch_cost) < epoch


@given(costs, epoch_costs)
def test_the_last_epoch_of_a_trial_reaches_its_cost(cost, epoch_cost):
    last = epochs_at(cost, epoch_cost)
    assert cost_reached(last, epoch_cost) >= cost >= cost_within(last, epoch_cost)
