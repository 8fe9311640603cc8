import itertools

import pytest
from ray import tune

from inat.config.trial import feature_group
from inat.errors import ConfigError
from inat.study.study import Study
from inat.study.trial import Trial
from inat.tuning.space.grid import grid_of, next_grid_params, params_key

NODES = ("one", "two")
SPACE = {
    "backbone": tune.choice(["a", "b"]),
    "strategy": tune.choice(["freeze_all", "freeze_partial", "unfreeze_all"]),
    "k_layers": tune.choice([1, 2]),
    "learning_rate": tune.choice([0.1, 0.2]),
}


def test_a_grid_has_combinations_that_train_differently_once_each():
    grid = grid_of(SPACE)
    assert len(grid) == 2 * (1 + 2 + 1) * 2
    assert len({params_key(params) for params in grid}) == len(grid)
    assert [p["strategy"] for p in grid[:4]] == ["freeze_all", "freeze_all", "freeze_partial", "freeze_partial"]
    assert all(set(params) == set(SPACE) for params in grid)


def test_configurations_that_share_features_follow_each_other():
    groups = [feature_group(params) for params in grid_of(SPACE)]
    changes = sum(before != after for before, after in itertools.pairwise(groups))
    assert changes == 7  # three groups that share features and unfreeze_all, for each of two backbones


def test_a_range_and_too_many_combinations_are_refused():
    with pytest.raises(ConfigError, match="learning_rate is a range"):
        grid_of(SPACE | {"learning_rate": tune.loguniform(1e-4, 1e-2)})
    with pytest.raises(ConfigError, match="has 160,000 combinations"):
        grid_of({name: tune.choice(range(20)) for name in "abcd"})


def trial(number: int, node: str, **params) -> Trial:
    return Trial(f"t{number:04d}", number, params, "", node=node)


def test_a_node_prefers_features_that_it_has_then_features_that_no_node_has():
    left = [
        {"backbone": "a", "strategy": "freeze_all", "learning_rate": 0.2},
        {"backbone": "b", "strategy": "freeze_all", "learning_rate": 0.1},
        {"backbone": "b", "strategy": "freeze_partial", "k_layers": 1, "learning_rate": 0.1},
    ]
    kept = enumerate(zip(NODES, "ab", strict=True))
    trials = [trial(i, node, backbone=name, strategy="freeze_all") for i, (node, name) in kept]
    assert next_grid_params(left, trials, "one") == left[0]
    assert next_grid_params(left, trials, "two") == left[1]
    assert next_grid_params(left, trials, "three") == left[2]
    assert next_grid_params(left[:2], trials, "three") == left[0]


def test_a_single_node_counts_the_features_of_a_trial_without_an_epoch_as_its_own():
    left = [
        {"backbone": "a", "strategy": "freeze_all", "learning_rate": 0.2},
        {"backbone": "b", "strategy": "freeze_all", "learning_rate": 0.2},
    ]
    ended, begun = (
        trial(0, "one", backbone="c", strategy="freeze_all"),
        trial(1, "", backbone="b", strategy="freeze_all"),
    )
    assert next_grid_params(left, [ended, begun], "one") == left[1]
    elsewhere = trial(2, "two", backbone="c", strategy="freeze_all")
    assert next_grid_params(left, [ended, begun, elsewhere], "one") == left[0]


def test_a_grid_search_suggests_each_configuration_once(study: Study):
    from inat.tuning.rungs import Rungs
    from inat.tuning.sampling.options import SearcherOptions
    from inat.tuning.sampling.searcher import BudgetAwareOptunaSearch

    grid = grid_of(SPACE)
    options = SearcherOptions(rungs=Rungs(3, 3, 9), grid=grid, sampler="grid", start_from=[grid[5]])
    searcher = BudgetAwareOptunaSearch(study, SPACE, options)
    for _ in grid:
        searcher.suggest(searcher.next_trial_id())
    asked = [params_key(t.params) for t in study.trials.values()]
    assert sorted(asked) == sorted(map(params_key, grid))
    assert asked[0] == params_key(grid[5])
