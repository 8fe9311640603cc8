from dataclasses import replace

from analysis.side_by_side.units import describe_units
from tests.analysis.studies import study_of

EPOCHS = study_of([{"a": 1}], [[0.5]])
RECIPE = replace(EPOCHS, step="recipe_epoch")


def test_studies_that_count_the_same_need_no_sentence():
    assert describe_units({"a": EPOCHS, "b": EPOCHS}) == ""
    assert describe_units({"a": RECIPE}) == ""


def test_other_units_and_other_recipes_are_named():
    text = describe_units({"a": EPOCHS, "b": RECIPE, "c": replace(EPOCHS, step="step")})
    assert text.startswith("Epochs: a counts epochs, b counts recipe epochs and c counts steps; a recipe epoch is ")
    assert "Compare seconds instead." in text
    assert describe_units({"a": RECIPE, "b": RECIPE}).startswith("Epochs: a counts recipe epochs and b counts")
    assert "recipe" not in describe_units({"a": EPOCHS, "c": replace(EPOCHS, step="step")})
