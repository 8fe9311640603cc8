import pytest

from inat.tuning.describe_scores import describe_test

COUNTS = {"train": [8, 2, 2], "val": [3, 1, 1], "test": [4, 6, 6]}
SCORES = {"test_loss": 0.9, "test_acc": 0.625, "images": 16, "test_macro_f1": 0.28414, "constant_accuracy": 0.25}


def test_the_accuracy_stands_first_without_a_name():
    assert describe_test(SCORES) == (
        "test    0.6250 on 16 held-out images, evaluated once (a constant answer scores 0.2500)\n"
        "        macro F1 0.2841, loss 0.9000"
    )
    assert describe_test({"test_acc": 0.5}) == "test    0.5000 on the held-out images, evaluated once"
    assert describe_test(None) == "test    no checkpoint to test"


@pytest.mark.parametrize(("counts", "constant"), [(COUNTS, " (a constant answer scores 0.1333)"), (None, "")])
def test_another_metric_stands_first_with_its_name_and_its_constant_answer(counts, constant):
    info = {"config": {"metric": "macro_f1"}, "class_counts": counts}
    assert describe_test(SCORES, info) == (
        f"test    0.2841 macro F1 on 16 held-out images, evaluated once{constant}\n        accuracy 0.6250, loss 0.9000"
    )


def test_only_the_accuracy_is_shown_where_nothing_else_is_known():
    info = {"config": {"metric": "macro_f1"}}
    assert describe_test({"test_acc": 0.5}, info) == "test    0.5000 accuracy on the held-out images, evaluated once"


def test_several_tested_models_are_counted():
    text = describe_test(SCORES, models=3)
    assert "3 best models of this study have been tested: choose none of them by its test score" in text
    assert "have been tested" not in describe_test(SCORES)
