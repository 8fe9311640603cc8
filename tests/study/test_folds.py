import itertools
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inat.config.objective import ACCURACY, OBJECTIVES, Objective
from inat.study.folds import as_trial_row, ends_fold, fold_values, kept_row, progress, standard_error, step_of
from inat.study.journal import Journal
from inat.study.study import Study

CURVES = st.lists(st.lists(st.floats(0, 1), min_size=1, max_size=6), min_size=1, max_size=5)


def rows_of(curves: list[list[float]], objective: Objective = ACCURACY) -> list[dict]:
    """The rows of a trial whose trainings have these values of the objective."""
    column, best = objective.best_column, objective.best
    rows: list[dict] = []
    for number, curve in enumerate(curves, start=1):
        before = list(rows)
        for epoch in range(1, len(curve) + 1):
            row = {"epoch": epoch, column: best(curve[:epoch]), objective.column: curve[epoch - 1]}
            rows.append(as_trial_row(row, number, before, epoch == len(curve), column))
    return rows


@given(CURVES)
def test_the_value_is_the_best_of_the_first_fold_and_then_the_mean_over_the_folds_that_have_ended(curves):
    rows = rows_of(curves)
    assert [row["epoch"] for row in rows] == list(range(1, len(rows) + 1))
    bests = [max(curve) for curve in curves]
    for row in rows:
        done = row["folds_done"]
        first = max(curves[0][: row["epoch"]])
        assert row["best_val_acc"] == (pytest.approx(statistics.fmean(bests[:done])) if done else first)
        assert row["fold_best"] <= bests[row["fold"] - 1]
    assert rows[-1]["best_val_acc"] == pytest.approx(statistics.fmean(bests))
    assert fold_values(rows) == bests


@given(CURVES)
def test_progress_rises_only_in_the_first_fold_and_where_one_ends(curves):
    rows = rows_of(curves)
    reached = [progress(row) for row in rows]
    assert reached == sorted(reached)
    for before, row in itertools.pairwise(rows):
        rises = progress(row) > progress(before)
        assert rises == (row["fold"] == 1 or ends_fold(row))
    steps = [step_of(row, max_epochs=6) for row in rows]
    assert steps == sorted(steps)
    assert steps[-1] == 6 * len(curves)


@given(CURVES)
def test_the_kept_weights_are_the_first_with_the_best_value_of_all_folds(curves):
    rows = rows_of(curves)
    values = [value for curve in curves for value in curve]
    assert kept_row(rows)["epoch"] == values.index(max(values)) + 1


@given(CURVES)
def test_of_losses_the_lowest_counts(curves):
    rows = rows_of(curves, OBJECTIVES["val_loss"])
    assert rows[-1]["best_val_loss"] == pytest.approx(statistics.fmean(min(curve) for curve in curves))
    values = [value for curve in curves for value in curve]
    assert kept_row(rows, OBJECTIVES["val_loss"])["epoch"] == values.index(min(values)) + 1


def test_the_standard_error_is_that_of_the_mean():
    assert standard_error([0.8, 0.9, 1.0]) == pytest.approx(0.1 / 3**0.5)
    assert standard_error([0.8]) is None


def end(study: Study, curves: list[list[float]], state: str = "completed") -> str:
    trial = study.add_trial({"lr": len(study.trials)})
    for row in rows_of(curves, study.objective):
        study.add_epoch(trial.trial_id, row)
    study.end_trial(trial.trial_id, state)
    return trial.trial_id


def test_tables_have_the_folds_and_the_error_and_the_journal_gives_them_back(study):
    end(study, [[0.5, 0.8], [0.6]])
    study.close()
    header, row = (study.directory / "trials.csv").read_text().splitlines()
    table = dict(zip(header.split(","), row.split(","), strict=True))
    assert float(table["best_val_acc"]) == pytest.approx(0.7)
    assert float(table["standard_error"]) == pytest.approx(0.1)
    assert (table["folds_done"], table["epochs"]) == ("2", "3")
    history = (study.directory / "history.csv").read_text().splitlines()
    assert history[0].endswith(",fold")
    assert [line.rsplit(",", 1)[1] for line in history[1:]] == ["1", "1", "2"]
    again = Journal.read(study.directory).trials["t0000"]
    assert (again.fold_values, again.folds_done) == ([0.8, 0.6], 2)


def test_without_folds_the_tables_have_no_column_more(study):
    trial = study.add_trial({"lr": 1})
    study.add_epoch(trial.trial_id, {"epoch": 1, "best_val_acc": 0.5})
    study.close()
    assert "fold" not in (study.directory / "trials.csv").read_text() + (study.directory / "history.csv").read_text()
    assert (trial.kept_value, trial.standard_error, trial.folds_done) == (0.5, None, 0)


def test_a_study_of_losses_ranks_low_means_first_and_gives_its_tables_back(tmp_path):
    study = Study.create(tmp_path / "study", {"config": {"metric": "val_loss"}})
    lucky = end(study, [[0.1]], "stopped")
    good, better = end(study, [[0.9, 0.5], [0.7]]), end(study, [[0.6], [0.4, 0.5]])
    assert [trial.trial_id for trial in study.ranking()] == [better, good, lucky]
    assert (study.best().fold_values, study.best().kept_value) == ([0.6, 0.4], pytest.approx(0.6))
    study.close()
    lines = (study.directory / "trials.csv").read_text().splitlines()
    table = dict(zip(lines[0].split(","), lines[3].split(","), strict=True))
    assert float(table["best_val_loss"]) == pytest.approx(0.5)
    assert float(table["standard_error"]) == pytest.approx(0.1)
    assert [trial.trial_id for trial in Journal.read(study.directory).ranking()] == [better, good, lucky]


def test_a_trial_with_more_folds_ranks_first(study):
    lucky = end(study, [[0.95]], "stopped")
    good, better = end(study, [[0.9], [0.8]]), end(study, [[0.9], [0.82]])
    assert [trial.trial_id for trial in study.ranking()] == [better, good, lucky]
    assert study.best().trial_id == better
