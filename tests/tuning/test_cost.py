import pytest

from inat.tuning.cost import Cost, Network, Photos, Stage, cost_of

# The last stage is the head.
NETWORK = Network([Stage(1.0, 100, 10), Stage(2.0, 50, 20), Stage(0.5, 8, 30)], step_factor=4.0)
PHOTOS = Photos(train=80, val=20)


def test_frozen_stages_run_once_for_each_view_and_the_others_in_every_epoch():
    cost = cost_of(NETWORK, 2, PHOTOS, epochs=10, views=4, most_bytes=1e9)
    pushed = 4 * 80 + 20
    assert cost == Cost(
        trainable=30,
        feature_bytes=pushed * 50,
        building=pushed * 3.0,
        trial=10 * (4 * 80 + 20) * 0.5,
        classic=10 * (4 * 80 + 20) * 0.5 + 10 * 100 * 3.0,
    )


@pytest.mark.parametrize(("frozen", "views", "most"), [(0, 4, 1e9), (2, 0, 1e9), (2, 4, 1000.0)])
def test_where_nothing_is_kept_a_trial_costs_what_it_always_did(frozen, views, most):
    cost = cost_of(NETWORK, frozen, PHOTOS, epochs=10, views=views, most_bytes=most)
    assert (cost.feature_bytes, cost.building) == (0, 0.0)
    assert cost.trial == cost.classic > 0


def test_the_whole_network_costs_a_backward_pass_through_all_stages():
    assert cost_of(NETWORK, 0, PHOTOS, epochs=1, views=4, most_bytes=1e9).trial == (4 * 80 + 20) * 3.5
