from dataclasses import replace

import pytest

from analysis.recipe import recipe_of, recipe_trial
from analysis.study import load_study
from tests.analysis.studies import study_of, write_study_dir

PARAMS = [
    {"lr": 1e-3, "flip": True, "norm": "batch", "mixup": None},
    {"lr": 3e-3, "flip": False, "norm": "None", "mixup": 0.2},
    {"lr": 3e-3, "flip": True, "norm": "batch", "mixup": None},
    {"lr": 3e-3, "flip": True, "norm": "batch", "mixup": None},
]


def with_recipe(recipe):
    return replace(study_of(PARAMS, [[0.1 * i] for i in range(4)]), info={"recipe_params": recipe})


@pytest.mark.parametrize(
    ("recipe", "trial"),
    [
        ({"lr": 0.003, "flip": True, "norm": "batch", "mixup": None}, "t0002"),  # the first of two
        ({"lr": 0.003, "flip": False, "norm": None, "mixup": 0.2}, "t0001"),
        ({"lr": 0.003, "flip": True, "norm": "batch", "mixup": None, "image_size": 64}, "t0002"),  # not a column
        ({"lr": 0.003, "flip": True, "norm": "batch", "mixup": 0.2}, None),
        ({"image_size": 64}, None),
        ({}, None),
        ("lr", None),
        ([1], None),
    ],
)
def test_the_recipes_trial_is_the_first_with_its_hyperparameters(recipe, trial):
    found = recipe_trial(with_recipe(recipe))
    assert (None if found is None else found["trial_id"]) == trial


def test_a_recipe_is_found_in_the_files_of_a_study(tmp_path):
    recipe = dict(PARAMS[2])
    study = load_study(write_study_dir(with_recipe(recipe), tmp_path / "study"))
    assert recipe_trial(study)["trial_id"] == "t0002"
    assert recipe_of(study.info) == recipe
    assert recipe_trial(study_of(PARAMS, [[0.1]] * 4)) is None
