import json
from dataclasses import replace

import pytest

from analysis.report.headline import headline
from tests.analysis.studies import study_of

PARAMS = [{"lr": 0.1, "k": 2}, {"lr": 0.01, "k": None}, {"lr": 0.001, "k": 3}]


@pytest.fixture
def study():
    return study_of(PARAMS, [[0.2, 0.5], [0.7], [0.6]], ["completed", "stopped", "failed"])


def facts(study, path):
    return {fact.label: (fact.value, fact.note) for fact in headline(study, path, []).facts}


def test_the_best_trial_and_its_configuration_without_missing_values(study, tmp_path):
    head = headline(study, tmp_path / "name", ["so"])
    assert (head.title, head.subtitle) == ("name", "best trial t0001")
    assert head.configuration == {"lr": "0.01"}
    assert head.findings == ["so"]


def test_the_trial_in_best_json_is_the_best_trial(study, tmp_path):
    (tmp_path / "best.json").write_text(json.dumps({"trial_id": "t0000"}))
    assert headline(study, tmp_path, []).subtitle == "best trial t0000"
    assert facts(study, tmp_path)["validation accuracy"][0] == "0.5000"


def test_the_test_accuracy_has_wilsons_interval(study, tmp_path):
    best = {"trial_id": "t0001", "test": {"test_acc": 0.9, "images": 100}}
    (tmp_path / "best.json").write_text(json.dumps(best))
    # Wilson's interval of 90 in 100, from the formula: centre (p + z^2/2n) / (1 + z^2/n).
    assert facts(study, tmp_path)["test accuracy"] == (
        "0.9000",
        "95 % interval 0.826 to 0.945; 100 images, evaluated once",
    )


@pytest.mark.parametrize(
    "text", ["", "[1]", '{"trial_id": "t0001"}', '{"trial_id": "gone", "test": {"test_acc": 1, "images": 9}}']
)
def test_without_a_test_accuracy_the_fact_is_empty(study, tmp_path, text):
    (tmp_path / "best.json").write_text(text)
    assert facts(study, tmp_path)["test accuracy"] == ("-", "not evaluated")


def test_cost_sums_over_all_trials(study, tmp_path):
    found = facts(study, tmp_path)
    assert found["trials"] == ("3", "1 completed, 1 stopped, 1 failed")
    assert found["training time"] == ("8 s", "4 epochs; 4 s from the first trial to the last")


def test_a_study_without_results_has_a_first_screen(tmp_path):
    study = study_of([{"a": 1}], [[]], ["failed"])
    head = headline(study, tmp_path, [])
    assert head.subtitle == "the only trial failed; mend the cause and run it again"
    assert head.configuration == {}


def recorded(study, objective: str, **changes):
    counts = {"train": [90, 6, 4], "val": [18, 1, 1], "test": [6, 2, 2]}
    info = {"config": {"metric": objective}, "class_counts": counts, "data": {"classes": ["ant", "bee", "<cat>"]}}
    return replace(study, info=info, **changes)


def test_a_constant_answer_stands_beside_both_accuracies_and_the_classes_are_counted(study, tmp_path):
    (tmp_path / "best.json").write_text(json.dumps({"trial_id": "t0001", "test": {"test_acc": 0.9, "images": 100}}))
    found = facts(recorded(study, "accuracy"), tmp_path)
    note = found["validation accuracy"][1]
    assert note.startswith("optimistic: the best ")
    assert note.endswith(" trials; a constant answer scores 0.9000")
    assert found["test accuracy"][1].endswith("evaluated once; a constant answer scores 0.6000")
    assert found["classes"] == (
        "3",
        "largest ant 108 (90 %), smallest <cat> 5, counting training and validation photos",
    )


def test_the_first_screen_says_how_many_trials_are_no_better_than_a_constant_answer(study, tmp_path):
    changed = recorded(study, "accuracy")
    changed.info["class_counts"]["val"] = [6, 2, 2]
    note = "1 of 2 trials no better than always answering the largest class"  # the third trial failed
    assert facts(changed, tmp_path)["against a constant answer"] == ("+0.1000", note)
    assert "against a constant answer" not in facts(study, tmp_path)


def test_the_first_screen_names_the_objective(study, tmp_path):
    found = facts(recorded(study, "balanced_accuracy", metric="best_val_balanced_acc"), tmp_path)
    assert found["balanced validation accuracy"][1].endswith("a constant answer scores 0.3333")


@pytest.mark.parametrize("classes", [None, ["ant"], "abc"])
def test_counts_that_do_not_fit_the_classes_are_left_out(study, tmp_path, classes):
    changed = recorded(study, "accuracy")
    changed.info["data"]["classes"] = classes
    assert "classes" not in facts(changed, tmp_path)


def test_a_last_training_is_the_best_model(study, tmp_path):
    changed = recorded(study, "accuracy")
    best = {"trial_id": "t0000", "last_training": True, "best_val_acc": 0.95, "epochs": 8,
            "params": {"lr": 0.05, "k": 2}, "test": {"test_acc": 0.9, "images": 100}}  # fmt: skip
    (tmp_path / "best.json").write_text(json.dumps(best))
    head, found = headline(changed, tmp_path, []), facts(changed, tmp_path)
    assert head.subtitle == "last training of trial t0000"
    assert head.configuration == {"lr": "0.05", "k": "2"}
    assert found["validation accuracy"] == (
        "0.9500", "optimistic: the best of 8 epochs and of 3 trials; a constant answer scores 0.9000",
    )  # fmt: skip
    assert found["against a constant answer"][0] == "+0.0500"
    assert found["test accuracy"][0] == "0.9000"


@pytest.mark.parametrize("values", [{"best_val_acc": "x"}, {"best_val_acc": float("nan")}, {}])
def test_a_damaged_last_training_leaves_the_trial_as_it_was(study, tmp_path, values):
    (tmp_path / "best.json").write_text(json.dumps({"trial_id": "t0000", "last_training": True, **values}))
    assert facts(study, tmp_path)["validation accuracy"][0] == "0.5000"


def test_a_refit_stands_beside_the_result_of_the_search(study, tmp_path):
    best = {"trial_id": "t0000", "best_val_acc": 0.5, "epochs": 2, "params": {"lr": 0.05, "b": 1},
            "refit": {"epochs": 8, "params": {"lr": 0.07, "b": 1}},
            "test": {"test_acc": 0.9, "images": 100}}  # fmt: skip
    (tmp_path / "best.json").write_text(json.dumps(best))
    head, found = headline(study, tmp_path, []), facts(study, tmp_path)
    assert head.subtitle == "last training of trial t0000"
    assert head.configuration["lr"] == "0.07"
    assert found["validation accuracy"][0] == "0.5000"
    assert found["trained"] == (
        "8 epochs", "on all training and validation photos, so that only the test photos measure it; the validation "
        "result is that of the search; lr 0.07, as the recipe has it for so many epochs and photos",
    )  # fmt: skip
    assert found["test accuracy"][0] == "0.9000"


@pytest.mark.parametrize("refit", [True, [3], {"epochs": "x"}, {}])
def test_a_damaged_refit_is_no_obstacle(study, tmp_path, refit):
    (tmp_path / "best.json").write_text(json.dumps({"trial_id": "t0000", "refit": refit}))
    assert facts(study, tmp_path)["validation accuracy"][0] == "0.5000"


def test_the_results_of_a_refit_measure_nothing(study, tmp_path):
    last = replace(study, info=study.info | {"refit": True})
    assert facts(last, tmp_path)["validation accuracy"][1].startswith("of photos that it learns from")
