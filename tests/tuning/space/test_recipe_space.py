import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ray.tune.search.sample import Categorical, Float, LogUniform

from inat.config.trial import TrialConfig
from inat.tuning.network_timing import size_of
from inat.tuning.space.domains import boundary_values, domain_errors, to_domain_value
from inat.tuning.space.presets import check_space
from inat.tuning.space.recipe_space import MOST_OPERATIONS, for_own_network, recipe_space
from inat.tuning.space.scratch_recipe import scratch_recipe


def recipe_for(image_size: int = 32, images: int = 10_000, epochs: int = 12) -> dict:
    return scratch_recipe(image_size=image_size, images=images, classes=10, epochs=epochs)


@settings(max_examples=15, deadline=None)
@given(st.integers(4, 512), st.integers(1, 2_000_000), st.integers(1, 300))
def test_the_space_is_valid_and_contains_the_recipe(image_size, images, epochs):
    recipe = recipe_for(image_size, images, epochs)
    space = recipe_space(recipe)
    check_space(space, {"data": "photos", "image_size": image_size, "max_epochs": epochs})
    assert {name: to_domain_value(space[name], value) for name, value in recipe.items()} == recipe
    assert recipe.keys() == space.keys()


def test_few_hyperparameters_vary_and_the_rate_has_a_log_scale():
    space = recipe_space(recipe_for())
    varying = [name for name, d in space.items() if not isinstance(d, Categorical) or len(d.categories) > 1]
    assert sorted(varying) == [
        "augmentation_policy", "batch_size", "cutmix_alpha", "depth", "label_smoothing", "learning_rate",
        "mixup_alpha", "warmup_share", "weight_decay", "width",
    ]  # fmt: skip
    assert isinstance(space["learning_rate"].get_sampler(), LogUniform)
    assert isinstance(space["warmup_share"], Float)


@pytest.mark.parametrize("image_size", [8, 16, 32, 64, 96, 224])
def test_no_network_has_many_more_operations_than_the_recipe(image_size):
    recipe = recipe_for(image_size)
    settings = {"data": "photos", "image_size": image_size, "max_epochs": 12}
    largest = {name: boundary_values(recipe_space(recipe)[name])[-1] for name in ("width", "depth")}
    sizes = [size_of(TrialConfig.from_params(settings | recipe | change), 10) for change in ({}, largest)]
    assert 1.5 < sizes[1].operations / sizes[0].operations < MOST_OPERATIONS


def test_a_network_of_the_user_may_learn_more_slowly():
    space = recipe_space(recipe_for())
    own = for_own_network(space)
    assert own["learning_rate"].lower == pytest.approx(space["learning_rate"].lower / 10)
    assert own["learning_rate"].upper == space["learning_rate"].upper
    assert not domain_errors("learning_rate", own["learning_rate"])
    assert {name: domain for name, domain in own.items() if name != "learning_rate"} == {
        name: domain for name, domain in space.items() if name != "learning_rate"
    }
