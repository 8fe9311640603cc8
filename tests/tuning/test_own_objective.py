import pytest
from ray import tune

from inat.errors import StudyError
from inat.tuning.own_objective import as_trainable, check_objective


@pytest.fixture
def reports(monkeypatch) -> list:
    found = []
    monkeypatch.setattr(tune, "report", found.append)
    return found


def test_each_value_that_is_yielded_is_an_epoch_with_the_best_so_far(reports):
    as_trainable(lambda params: (params["scale"] * value for value in (0.2, 0.4, 0.1)), "accuracy")({"scale": 0.5})
    assert reports == [
        {"epoch": 1, "val_acc": 0.1, "best_val_acc": 0.1},
        {"epoch": 2, "val_acc": 0.2, "best_val_acc": 0.2},
        {"epoch": 3, "val_acc": 0.05, "best_val_acc": 0.2},
    ]


def test_of_a_loss_the_lowest_value_is_the_best(reports):
    as_trainable(lambda params: (value for value in (0.5, 0.3, 0.4)), "val_loss")({})
    assert [row["best_val_loss"] for row in reports] == [0.5, 0.3, 0.3]


def test_a_value_that_is_returned_is_the_only_epoch(reports):
    as_trainable(lambda params: 1, "accuracy")({})
    assert reports == [{"epoch": 1, "val_acc": 1.0, "best_val_acc": 1.0}]


def test_an_objective_may_report_by_itself(reports):
    as_trainable(lambda params: None, "accuracy")({})
    assert reports == []


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [("x", TypeError, "the objective gave 'x'; return a number"), (True, TypeError, "gave True"),
     (float("nan"), ValueError, "the objective gave nan; return a finite number"), ([0.5], TypeError, r"gave \[0.5\]")],
)  # fmt: skip
def test_anything_but_a_finite_number_fails_the_trial(reports, value, error, message):
    with pytest.raises(error, match=message):
        as_trainable(lambda params: value, "accuracy")({})


def test_a_trial_that_is_stopped_cleans_up(monkeypatch):
    cleaned = []

    def objective(params):
        try:
            yield 0.5
        finally:
            cleaned.append(True)

    def stop(row):
        raise SystemExit

    monkeypatch.setattr(tune, "report", stop)
    with pytest.raises(SystemExit):
        as_trainable(objective, "accuracy")({})
    assert cleaned == [True]


@pytest.mark.parametrize(
    ("known", "now", "message"),
    [("mine", "", r" is a study of the Python function mine.*resume\(objective=mine\)"),
     ("mine", "other", " began with the function mine, not with the objective other"),
     ("", "other", " trains the networks of this program, not with the objective other")],
)  # fmt: skip
def test_a_study_goes_on_with_its_own_objective_only(tmp_path, known, now, message):
    info = {"own_objective": known} if known else {}
    check_objective(tmp_path, info, known)
    with pytest.raises(StudyError, match=message):
        check_objective(tmp_path, info, now)
