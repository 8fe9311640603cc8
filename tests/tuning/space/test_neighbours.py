from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from ray import tune

from inat.tuning.space.neighbours import FREED, neighbours
from inat.tuning.space.recipe_space import recipe_space
from inat.tuning.space.scratch_recipe import scratch_recipe

RECIPE = scratch_recipe(image_size=64, images=2000, classes=10, epochs=12)
SPACE = recipe_space(RECIPE)


@given(count=st.integers(0, 40), seed=st.integers(0, 2**32))
def test_each_keeps_the_recipe_but_for_two_hyperparameters_that_take_turns(count, seed):
    found = neighbours(RECIPE, SPACE, count, seed)
    assert len(found) == count
    left_out = [RECIPE.keys() - near.keys() for near in found]
    assert all(near.items() <= RECIPE.items() for near in found)
    assert all(len(names) == FREED for names in left_out)
    counts = Counter(name for names in left_out for name in names)
    free = {name for name, domain in SPACE.items() if len(getattr(domain, "categories", "ab")) > 1}
    assert counts.keys() <= free
    assert max(counts.values(), default=0) - min((counts[name] for name in free), default=0) <= 1


def test_the_seed_decides():
    assert neighbours(RECIPE, SPACE, 9, 1) == neighbours(RECIPE, SPACE, 9, 1)
    assert neighbours(RECIPE, SPACE, 9, 1) != neighbours(RECIPE, SPACE, 9, 2)


def test_there_are_none_where_one_hyperparameter_has_several_values():
    space = {"width": tune.choice([32, 64]), "depth": tune.choice([2])}
    assert neighbours({"width": 32, "depth": 2}, space, 3, 0) == []
