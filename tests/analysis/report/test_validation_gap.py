import pytest

from analysis.report.validation_gap import validation_gap
from tests.analysis.studies import study_of

COUNTS = {"train": [1000, 809], "val": [300, 152], "test": [300, 245]}


def found(validation: float, test: float, images: int = 545, counts: object = COUNTS, **settings: object) -> list[str]:
    study = study_of([{"a": 1}, {"a": 2}], [[0.3], [validation]], **settings)
    study.info.update({"class_counts": counts, "data": {"classes": ["ant", "bee"]}})
    return validation_gap(study, {"trial_id": "t0001", "test": {"test_acc": test, "images": images}})


def test_a_test_accuracy_far_below_validation_is_a_finding():
    (text,) = found(0.8031, 0.7193)
    assert text.startswith(
        "The validation split is easier than the test split: test accuracy is 0.084 lower (95 % interval 0.031 to "
        "0.136), more than"
    )
    assert "--group-by" in text


@pytest.mark.parametrize(("validation", "test", "images"), [
    (0.75, 0.71, 545), (0.7, 0.8, 545), (0.8031, 0.7193, 60), (0.8, 0.79, 100_000),
])  # fmt: skip
def test_a_gap_that_choosing_the_best_explains_is_none(validation, test, images):
    assert found(validation, test, images) == []


def test_without_known_photos_or_a_test_there_is_no_finding():
    assert found(0.8031, 0.7193, counts=None) == []
    study = study_of([{"a": 1}], [[0.9]])
    study.info.update({"class_counts": COUNTS})
    assert validation_gap(study, {}) == []
