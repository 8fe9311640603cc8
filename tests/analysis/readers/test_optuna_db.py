import math
import os
import sqlite3
from contextlib import closing

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState, create_trial

from analysis.comparable import best_trials, sample_at
from analysis.readers import optuna_files
from analysis.study import load_study

SPACE = {
    "lr": FloatDistribution(1e-4, 1e-1, log=True), "layers": IntDistribution(1, 5),
    "act": CategoricalDistribution(["relu", None]), "bn": CategoricalDistribution([True, False]),
}  # fmt: skip


def stored_trial(state=TrialState.COMPLETE, value=0.5, steps=(), attributes=None, **params):
    chosen = {"lr": 0.01, "layers": 3, "act": "relu", "bn": True} | params
    return create_trial(state=state, value=value, params=chosen, distributions=SPACE, user_attrs=attributes or {},
                        intermediate_values=dict(steps))  # fmt: skip


def fill(storage, name="search", trials=(), direction="maximize"):
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(storage=storage, study_name=name, direction=direction)
    study.add_trials(trials)
    return study


@pytest.fixture
def database(tmp_path):
    return tmp_path / "a b#1.db"  # must be quoted in an SQLite address


def three_trials():
    return [
        stored_trial(value=0.5, steps=[(0, 0.2), (1, 0.6), (2, math.nan)], bn=False),
        stored_trial(TrialState.PRUNED, value=0.3, steps=[(0, 0.3)], act=None),
        stored_trial(TrialState.FAIL, value=None),
    ]


@pytest.mark.parametrize("kind", ["database", "journal"])
def test_trials_and_history(tmp_path, kind):
    path = tmp_path / kind
    storage = f"sqlite:///{path}"
    if kind == "journal":
        storage = optuna.storages.JournalStorage(JournalFileBackend(str(path)))
    study = fill(storage, trials=three_trials())
    study.enqueue_trial({"lr": 0.1})
    loaded = load_study(path)
    assert loaded.trials["state"].tolist() == ["completed", "stopped", "failed", "running"]
    assert loaded.trials["trial_id"].tolist() == ["0", "1", "2", "3"]
    assert loaded.trials["name"].tolist() == ["0", "1", "2", "3"]  # Optuna's trials have no names
    assert loaded.trials["best_val_acc"].tolist()[:2] == [0.6, 0.3]
    assert loaded.trials["best_val_acc"].isna().tolist() == [False, False, True, True]
    assert loaded.trials["act"].tolist() == ["relu", "None", "relu", np.nan]
    assert loaded.trials["bn"].tolist()[:3] == [False, True, True]
    assert loaded.trials["layers"].dtype == "Int64"
    assert loaded.trials["epochs"].tolist() == [3, 1, 0, 0]
    assert loaded.history[["trial_id", "epoch"]].values.tolist() == [["0", 1], ["0", 2], ["0", 3], ["1", 1]]
    assert loaded.parameters == ["lr", "layers", "act", "bn"]
    assert loaded.info == {"source": "Optuna", "study": "search", "metric": "value", "mode": "max"}


def test_dates_are_those_that_optuna_gives(database):
    study = fill(f"sqlite:///{database}", trials=three_trials())
    created = load_study(database).trials["created"]
    assert created.tolist() == [t.datetime_start.astimezone() for t in study.get_trials()]


def test_loading_changes_nothing(database):
    fill(f"sqlite:///{database}", trials=three_trials())
    before = database.read_bytes()
    database.chmod(0o400)
    load_study(database)
    assert database.read_bytes() == before
    assert [path.name for path in database.parent.iterdir()] == [database.name]


def test_the_direction_of_the_study_decides_which_value_is_the_best(database):
    fill(f"sqlite:///{database}", trials=[stored_trial(value=0.5, steps=[(1, 0.7), (2, 0.4)])], direction="minimize")
    loaded = load_study(database)
    assert loaded.trials["best_val_acc"].tolist() == [0.4]
    assert loaded.info["mode"] == "min"


def test_the_study_db_of_inat_has_measured_accuracies_beside_the_reported_ones(database):
    known = {"trial_id": "t0007", "state": "stopped", "best_val_acc": 0.5, "epochs": 3, "rung": 1}
    lost = {"trial_id": "t0008", "state": "failed", "best_val_acc": None, "epochs": 0}
    trials = [stored_trial(value=0.9, steps=[(3, 0.5)], attributes=known), stored_trial(value=0.0, attributes=lost)]
    fill(f"sqlite:///{database}", trials=trials)
    table = load_study(database).trials
    assert table[["trial_id", "state", "epochs"]].values.tolist() == [["t0007", "stopped", 3], ["t0008", "failed", 0]]
    assert table["best_val_acc"].fillna(-1).tolist() == [0.5, -1]
    assert table["created"].isna().all()  # the dates are those of the copy
    assert table["seconds"].isna().all()


@pytest.mark.parametrize(("column", "direction"), [("best_val_loss", "minimize"), ("best_val_macro_f1", "maximize")])
def test_the_study_db_of_inat_has_the_measured_values_of_any_metric(database, column, direction):
    sampler = 0.1 if direction == "minimize" else 0.9  # extrapolated, so it looks better than what was measured
    known = {"trial_id": "t0000", "state": "stopped", column: 0.5, "epochs": 2, "rung": 1}
    lost = {"trial_id": "t0001", "state": "completed", column: math.nan, "epochs": 1, "rung": 0}
    trials = [stored_trial(value=sampler, steps=[(1, 0.6), (2, 0.5)], attributes=known),
              stored_trial(value=sampler, attributes=lost)]  # fmt: skip
    fill(f"sqlite:///{database}", trials=trials, direction=direction)
    loaded = load_study(database)
    assert loaded.trials["best_val_acc"].fillna(-1).tolist() == [0.5, -1]
    assert (loaded.metric, loaded.mode) == (column, direction[:3])
    assert loaded.history["val_acc"].tolist() == [0.6, 0.5]


def test_parameters_named_as_columns_of_the_analysis_keep_their_values(database):
    names = ("accuracy", "folds_done", "standard_error", "epochs")
    space = {name: IntDistribution(0, 9) for name in names}
    trials = [create_trial(value=0.1 * i, params=dict.fromkeys(names, 9 - i), distributions=space) for i in range(9)]
    fill(f"sqlite:///{database}", trials=trials)
    loaded = load_study(database)
    assert loaded.parameters == [f"config/{name}" for name in names]
    best = best_trials(loaded, 2)
    assert best["trial_id"].tolist() == ["8", "7"]
    assert best["config/folds_done"].tolist() == [1, 2]
    assert sample_at(loaded).trials["config/accuracy"].tolist() == list(range(9, 0, -1))


def test_attributes_that_no_column_can_have_are_passed_over(database):
    strange = {"state": "bogus", "trial_id": None, "name": ["x"], "epochs": 10**30, "seconds": "x", "node": {"a": 1}}
    twice = {"trial_id": "t0000", "acc": 10**400, "trainable_parameters": -(10**400)}
    trials = [stored_trial(value=0.4, attributes=strange), *(stored_trial(attributes=twice) for _ in range(2))]
    fill(f"sqlite:///{database}", trials=trials)
    table = load_study(database).trials
    assert table["state"].tolist() == ["completed"] * 3
    assert table["trial_id"].tolist() == table["name"].tolist() == ["0", "1", "2"]
    assert table["seconds"].isna().all()
    assert load_study(database, metric="acc").trials["best_val_acc"].isna().all()


def test_a_name_selects_one_of_several_studies(database):
    fill(f"sqlite:///{database}", "first", [stored_trial(value=0.1)])
    fill(f"sqlite:///{database}", "second", [stored_trial(value=0.2)])
    assert load_study(f"{database}#second").trials["best_val_acc"].tolist() == [0.2]
    assert load_study(f"sqlite:///{database}", study="first").trials["best_val_acc"].tolist() == [0.1]
    with pytest.raises(ValueError, match=r"2 studies in .*; name one as .*#STUDY: first, second"):
        load_study(database)
    with pytest.raises(ValueError, match=r"no study third in .*: first, second"):
        load_study(database, study="third")


def test_a_user_attribute_as_metric(database):
    trials = [stored_trial(value=0.1, steps=[(1, 0.3)], attributes={"test_acc": 0.8}), stored_trial()]
    fill(f"sqlite:///{database}", trials=trials)
    loaded = load_study(database, metric="test_acc")
    assert loaded.trials["best_val_acc"].fillna(-1).tolist() == [0.8, -1]
    assert loaded.history.empty  # the steps are values of another metric
    with pytest.raises(ValueError, match=r"no objective or user attribute loss in .*: 0 \(maximize\), test_acc"):
        load_study(database, metric="loss")


def several_objectives(tmp_path, kind, names=None):
    path = tmp_path / kind
    storage = f"sqlite:///{path}"
    if kind == "journal":
        storage = optuna.storages.JournalStorage(JournalFileBackend(str(path)))
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(storage=storage, study_name="two", directions=["maximize", "minimize"])
    if names:
        with pytest.warns(optuna.exceptions.ExperimentalWarning):
            study.set_metric_names(names)

    def objective(trial):
        x = trial.suggest_float("x", 0.0, 1.0)
        trial.set_user_attr("size", 1 + trial.number)
        if trial.number == 3:
            raise RuntimeError("no")
        return 0.1 * trial.number, 10.0 - trial.number + 0 * x

    study.optimize(objective, n_trials=6, catch=RuntimeError)
    return path


@pytest.mark.parametrize("kind", ["database", "journal"])
@pytest.mark.parametrize("names", [None, ["accuracy", "val_loss"]])
def test_one_of_several_objectives_is_chosen_by_index_or_name(tmp_path, kind, names):
    path = several_objectives(tmp_path, kind, names)
    values = {"0": [0.0, 0.1, 0.2, 0.4, 0.5], "1": [10.0, 9.0, 8.0, 6.0, 5.0]}
    for index, mode in (("0", "max"), ("1", "min")):
        for metric in (index, *(names or [])[int(index) :][:1]):
            study = load_study(path, metric=metric)
            assert study.trials["best_val_acc"].dropna().tolist() == pytest.approx(values[index])
            assert (study.mode, study.metric) == (mode, names[int(index)] if names else f"objective {index}")
            assert study.trials["state"].tolist().count("failed") == 1
            assert best_trials(study, 1)["trial_id"].tolist() == ["5"]
    size = load_study(path, metric="size")
    assert (size.mode, size.metric, size.trials["best_val_acc"].tolist()) == ("max", "size", [1, 2, 3, 4, 5, 6])


def test_the_name_of_an_objective_does_not_overrule_its_direction(tmp_path):
    path = several_objectives(tmp_path, "database", ["loss", "reward"])
    assert load_study(path, metric="loss").mode == "max"
    assert load_study(path, metric="reward").mode == "min"
    with pytest.raises(ValueError, match="has the direction MAXIMIZE; leave out mode=min"):
        load_study(path, metric="loss", mode="min")


@pytest.mark.parametrize("kind", ["database", "journal"])
def test_without_a_choice_one_sentence_lists_the_objectives(tmp_path, kind):
    path = several_objectives(tmp_path, kind)
    with pytest.raises(ValueError, match=r"^study two of .* has 2 objectives; choose one with --metric: "
                                         r"0 \(maximize\), 1 \(minimize\)$"):  # fmt: skip
        load_study(path)
    with pytest.raises(ValueError, match=r"no objective or user attribute 2 in study two; choose from: .*, size"):
        load_study(path, metric="2")


def test_named_objectives_are_listed_with_their_names(database):
    study = optuna.create_study(storage=f"sqlite:///{database}", study_name="two", directions=["maximize", "minimize"])
    with pytest.warns(optuna.exceptions.ExperimentalWarning):
        study.set_metric_names(["accuracy", "flops"])
    with pytest.raises(ValueError, match=r"0 \(accuracy, maximize\), 1 \(flops, minimize\)"):
        load_study(database)


def test_damaged_entries_of_a_database_are_counted(database):
    fill(f"sqlite:///{database}", trials=[stored_trial(), stored_trial(attributes={"epochs": 3})])
    with sqlite3.connect(database) as connection:
        connection.execute("UPDATE trial_params SET param_value = 9 WHERE param_name = 'act' AND trial_id = 1")
        connection.execute("UPDATE trial_user_attributes SET value_json = '{' WHERE trial_id = 2")
        connection.execute("UPDATE trials SET datetime_start = 'yesterday' WHERE trial_id = 2")
    connection.close()
    loaded = load_study(database)
    assert loaded.trials["act"].tolist() == [np.nan, "relu"]
    assert loaded.trials["created"].isna().tolist() == [False, True]
    assert loaded.read_errors["place"].tolist() == ["trial 1", "trial 0", "trial 1"]


def test_databases_and_journals_that_are_not_optunas_are_refused(tmp_path):
    with sqlite3.connect(tmp_path / "other.db") as connection:
        connection.execute("CREATE TABLE birds (name TEXT)")
    connection.close()
    with pytest.raises(ValueError, match=r"cannot be read as an Optuna database \(no such table: studies\)"):
        load_study(tmp_path / "other.db")
    (tmp_path / "journal").write_text('{"op_code":0,"worker_id":"w","study_name"\n{}\n')
    with pytest.raises(ValueError, match="no readable study in .*journal; restore the file"):
        load_study(tmp_path / "journal")
    (tmp_path / "journal").write_text('{"op_code":4,"worker_id":"w"}\n')
    with pytest.raises(ValueError, match="cannot be read as an Optuna journal"):
        load_study(tmp_path / "journal")


def test_a_journal_is_read_up_to_the_first_damaged_line(tmp_path):
    path = tmp_path / "journal"
    fill(optuna.storages.JournalStorage(JournalFileBackend(str(path))), trials=three_trials())
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines, lines[-1][:20]]))
    loaded = load_study(path)
    assert len(loaded.trials) == 3
    assert loaded.read_errors.values.tolist() == [[f"journal line {len(lines) + 1}", "half-written"]]
    path.write_text("\n".join([*lines[:-1], lines[-1][:20], lines[-1]]) + "\n")
    loaded = load_study(path)
    assert len(loaded.trials) == 2
    assert loaded.read_errors["place"].tolist() == [f"journal line {len(lines)}"]


ENDLESS = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT x AS study_name, x AS study_id FROM c"


def change(database, *statements):
    with closing(sqlite3.connect(database)) as connection:
        for statement, *values in statements:
            connection.execute(statement, values)
        connection.commit()
    return database


def test_a_view_that_computes_rows_for_ever_is_refused(database):
    change(database, [f"CREATE VIEW studies AS {ENDLESS}"])
    with pytest.raises(ValueError, match=r"it has the view 'studies', which no database of Optuna has"):
        load_study(database)


@pytest.mark.long
def test_a_query_without_end_is_cut_off(database, monkeypatch):
    monkeypatch.setattr(optuna_files, "MAX_SECONDS", 0.1)
    change(
        database,
        ["CREATE TABLE studies(study_name TEXT, n INTEGER, study_id INTEGER AS (length(hex(zeroblob(n)))))"],
        *(["INSERT INTO studies(study_name, n) VALUES (?, 4000000)", str(i)] for i in range(500)),
    )
    with pytest.raises(ValueError, match=r"cannot be read as an Optuna database \(interrupted\)"):
        load_study(database)


def test_a_huge_blob_is_not_read(database):
    fill(f"sqlite:///{database}", trials=[stored_trial(attributes={"a": 1})])
    change(database, ["UPDATE trial_user_attributes SET value_json = zeroblob(100000000)"])
    with pytest.raises(ValueError, match=r"cannot be read as an Optuna database \(.*too big"):
        load_study(database)


@pytest.mark.parametrize(
    ("statement", "value", "reason"),
    [
        (
            "UPDATE trial_user_attributes SET value_json = ?",
            "[" * 100_000,
            "attribute a is not JSON: nested too deeply",
        ),
        ("UPDATE trial_user_attributes SET value_json = ?", 5.5, None),
        ("UPDATE trial_params SET distribution_json = ?", "[" * 100_000, "is not in its distribution"),
        (
            "UPDATE trial_params SET distribution_json = ?",
            '{"name": "FloatDistribution"}',
            "is not in its distribution",
        ),
        ("UPDATE trials SET datetime_start = ?", 7, "fromisoformat"),
        ("UPDATE trials SET state = ?", "ODD", "unknown state 'ODD'"),
        ("UPDATE trial_values SET value = ?", "text", None),
        ("UPDATE trial_values SET value = ?", b"blob", None),
        ("UPDATE trial_intermediate_values SET step = ?", "text", None),
    ],
)
def test_cells_of_another_type_are_recorded_or_left_out(database, statement, value, reason):
    fill(f"sqlite:///{database}", trials=[stored_trial(attributes={"a": 1}, steps=[(1, 0.5)])])
    change(database, ["PRAGMA ignore_check_constraints = 1"], [statement, value])
    errors = load_study(database).read_errors
    assert [reason in text for text in errors["reason"]][:1] == ([True] if reason else [])


def test_a_database_that_is_a_pipe_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "a.db")
    with pytest.raises(OSError, match="not a regular file"):
        load_study(tmp_path / "a.db")
