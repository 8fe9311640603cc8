import pytest

from inat.config.finetune import FinetuneConfig
from inat.config.search import SearchConfig
from inat.errors import ConfigError
from inat.tuning.budget.asked import OWN_CHOICES, asks_for_plan

KEPT = {"data", "time_budget", "image_size", "seed", "patience", "name", "plan"}


def test_a_time_budget_alone_is_planned():
    assert asks_for_plan(SearchConfig(time_budget="30m", image_size=64), KEPT)
    assert not asks_for_plan(SearchConfig(), {"data"})


@pytest.mark.parametrize("name", OWN_CHOICES)
def test_with_a_choice_of_the_user_the_time_is_a_limit(name):
    assert not asks_for_plan(SearchConfig(time_budget="30m"), KEPT | {name})


def test_a_grid_and_fine_tuning_keep_their_limit():
    assert not asks_for_plan(SearchConfig(time_budget="30m", searcher="grid"), KEPT | {"searcher"})
    assert asks_for_plan(SearchConfig(time_budget="30m", searcher="random"), KEPT | {"searcher"})
    assert not asks_for_plan(FinetuneConfig(time_budget="30m"), KEPT)


def test_refit_is_for_planned_searches():
    assert asks_for_plan(SearchConfig(time_budget="30m", refit="train"), KEPT | {"refit"})
    assert not asks_for_plan(SearchConfig(refit="all"), {"refit"})  # as a run file has all options
    with pytest.raises(ConfigError, match=r"refit train is for the last training of a search that time_budget plans"):
        asks_for_plan(SearchConfig(refit="train", time_budget="30m", max_epochs=9), KEPT | {"refit", "max_epochs"})
