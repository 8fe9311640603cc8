from hypothesis import given
from hypothesis import strategies as st

from inat.config.trial import TrialConfig, active_params
from inat.tuning.space.scratch_recipe import (
    BATCH,
    BATCH_PIXELS,
    BATCH_SEEN,
    LEAST_BATCH,
    MOST_BATCH,
    batch_size_for,
    learning_rate_for,
    scratch_recipe,
    stem_stride_for,
)

SETTINGS = {"data": "photos", "max_epochs": 12}
SIZES, COUNTS = st.integers(4, 1024), st.integers(1, 2_000_000)


@given(SIZES, COUNTS, st.integers(2, 1000), st.integers(1, 300))
def test_the_recipe_is_a_training_for_all_images(image_size, images, classes, epochs):
    recipe = scratch_recipe(image_size=image_size, images=images, classes=classes, epochs=epochs)
    config = TrialConfig.from_params({**SETTINGS, "image_size": image_size, **recipe})
    params = config.to_params()
    assert {name: params[name] for name in recipe} == recipe
    assert active_params(recipe) == recipe  # nothing in it is without effect


@given(COUNTS, st.integers(1, 300))
def test_batches_grow_as_the_root_of_the_images_that_are_seen(images, epochs):
    batch = batch_size_for(images, epochs, 32)
    assert LEAST_BATCH <= batch <= MOST_BATCH
    if LEAST_BATCH < batch < MOST_BATCH:
        assert 1 / 2.01 <= (batch / BATCH) ** 2 / (images * epochs / BATCH_SEEN) <= 2.01
    assert batch_size_for(2 * images, epochs, 32) >= batch
    assert learning_rate_for(2 * batch) > learning_rate_for(batch)


@given(SIZES, COUNTS, st.integers(1, 300))
def test_batches_of_large_images_stay_within_the_memory(image_size, images, epochs):
    batch = batch_size_for(images, epochs, image_size)
    assert batch == LEAST_BATCH or batch * image_size**2 <= BATCH_PIXELS
    assert batch <= batch_size_for(images, epochs, 32)


def test_larger_images_are_strided():
    strides = [stem_stride_for(side) for side in range(4, 600)]
    assert strides == sorted(strides)
    assert set(strides) == {1, 2, 4}
