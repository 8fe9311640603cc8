import pandas as pd
import pytest

from analysis.study import load_study

HEADER = (
    '"Name","State","Notes","User","Tags","Created","Runtime","Sweep","activation","batch_norm","batch_size",'
    '"learning_rate","max_len","train_loss","val_acc","best_epoch","epoch","_step"'
)
ROWS = [
    '"gelu-64","finished","-","me","a, b","2024-03-12T10:22:33.000Z","3725","abc","gelu","true","32","0.001","5",'
    '"0.5","0.41","7","9","90"',
    '"relu-32","crashed","two\nlines","me","","2024-03-12T11:00:00.000Z","60","abc","relu","false","64","0.01","5",'
    '"","","","",""',
    '"gelu-64","killed","-","me","","2024-03-13T10:22:33.000Z","120","abc","NA","true","32","0.0001","5",'
    '"0.9","0.2","1","2","20"',
]


def export(path, rows=ROWS, header=HEADER, end=""):
    path.write_text("\n".join([header, *rows]) + end)
    return path


def test_a_row_a_run(tmp_path):
    study = load_study(export(tmp_path / "runs.csv"))
    assert study.trials["trial_id"].tolist() == ["gelu-64", "relu-32", "gelu-64-2"]
    assert study.trials["name"].tolist() == ["gelu-64", "relu-32", "gelu-64"]
    assert study.trials["state"].tolist() == ["completed", "failed", "stopped"]
    assert study.trials["best_val_acc"].fillna(-1).tolist() == [0.41, -1, 0.2]
    assert study.trials["epochs"].tolist() == [9, pd.NA, 2]
    assert study.trials["seconds"].tolist() == [3725, 60, 120]
    assert study.trials["created"][0] == pd.Timestamp("2024-03-12T10:22:33Z")
    assert study.history.empty
    assert study.broken.empty
    assert study.info == {"source": "W&B", "metric": "val_acc", "mode": "max"}


def test_hyperparameters_are_what_was_set_and_varies(tmp_path):
    path = export(tmp_path / "runs.csv")
    study = load_study(path)
    assert study.parameters == ["activation", "batch_norm", "batch_size", "learning_rate"]
    assert study.trials["max_len"].tolist() == [5, 5, 5]
    assert study.trials["batch_norm"].tolist() == [True, False, True]
    assert study.trials["batch_norm"].dtype == bool
    assert study.trials["activation"].tolist() == ["gelu", "relu", "NA"]  # a category, not a missing value
    assert load_study(path, parameters=["best_epoch", "max_len"]).parameters == ["best_epoch", "max_len"]
    with pytest.raises(ValueError, match="no column nothing among the parameters; there are: activation"):
        load_study(path, parameters=["nothing"])


def test_a_metric_that_is_named(tmp_path):
    study = load_study(export(tmp_path / "runs.csv"), metric="train_loss", mode="min")
    assert study.trials["best_val_acc"].fillna(-1).tolist() == [0.5, -1, 0.9]
    with pytest.raises(ValueError, match=r"no metric loss; .* there are: batch_size, .*, train_loss"):
        load_study(tmp_path / "runs.csv", metric="loss")


def test_rows_that_are_short_are_counted(tmp_path):
    study = load_study(export(tmp_path / "runs.csv", [ROWS[0], '"torn","finis', *ROWS[2:]]))
    assert study.trials["name"].tolist() == ["gelu-64", "gelu-64"]
    assert study.broken["place"].tolist() == ["runs.csv line 3"]


def test_runtime_in_words_and_ids(tmp_path):
    header = "ID,Name,State,Runtime,val_acc"
    study = load_study(
        export(tmp_path / "runs.csv", ["x1,a,running,1h 2m 5s,0.5", "x2,a,finished,5s,0.4"], header, "\n")
    )
    assert study.trials["trial_id"].tolist() == ["x1", "x2"]
    assert study.trials["seconds"].tolist() == [3725, 5]
    assert study.trials["state"].tolist() == ["running", "completed"]
    assert study.trials["created"].isna().all()


def test_a_metric_that_is_no_number_in_one_run(tmp_path):
    study = load_study(export(tmp_path / "runs.csv", [ROWS[0], ROWS[2].replace('"0.2"', '"0.x"')]))
    assert study.trials["best_val_acc"].tolist() == [0.41]
    assert study.broken["reason"].tolist() == ["val_acc is no number: 0.x"]
