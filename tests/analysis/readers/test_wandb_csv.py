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


def test_one_row_per_run(tmp_path):
    study = load_study(export(tmp_path / "runs.csv"))
    assert study.trials["trial_id"].tolist() == ["gelu-64", "relu-32", "gelu-64-2"]
    assert study.trials["name"].tolist() == ["gelu-64", "relu-32", "gelu-64"]
    assert study.trials["state"].tolist() == ["completed", "failed", "stopped"]
    assert study.trials["best_val_acc"].fillna(-1).tolist() == [0.41, -1, 0.2]
    assert study.trials["epochs"].tolist() == [9, pd.NA, 2]
    assert study.trials["seconds"].tolist() == [3725, 60, 120]
    assert study.trials["created"][0] == pd.Timestamp("2024-03-12T10:22:33Z")
    assert study.history.empty
    assert study.read_errors.empty
    assert study.info == {"source": "W&B", "metric": "val_acc", "mode": "max"}


def test_hyperparameters_are_configuration_columns_that_vary(tmp_path):
    path = export(tmp_path / "runs.csv")
    study = load_study(path)
    assert study.parameters == ["activation", "batch_norm", "batch_size", "learning_rate"]
    assert study.trials["max_len"].tolist() == [5, 5, 5]
    assert study.trials["batch_norm"].tolist() == [True, False, True]
    assert study.trials["batch_norm"].dtype == bool
    assert study.trials["activation"].tolist() == ["gelu", "relu", "NA"]  # a category, not a missing value
    assert load_study(path, parameters=["best_epoch", "max_len"]).parameters == ["best_epoch", "max_len"]
    with pytest.raises(ValueError, match="no parameter nothing; choose from: activation"):
        load_study(path, parameters=["nothing"])


def test_a_requested_metric(tmp_path):
    study = load_study(export(tmp_path / "runs.csv"), metric="train_loss", mode="min")
    assert study.trials["best_val_acc"].fillna(-1).tolist() == [0.5, -1, 0.9]
    with pytest.raises(ValueError, match=r"no metric loss; .* columns: batch_size, .*, train_loss"):
        load_study(tmp_path / "runs.csv", metric="loss")


def test_short_rows_are_counted(tmp_path):
    study = load_study(export(tmp_path / "runs.csv", [ROWS[0], '"torn","finis', *ROWS[2:]]))
    assert study.trials["name"].tolist() == ["gelu-64", "gelu-64"]
    assert study.read_errors["place"].tolist() == ["runs.csv line 3"]


def test_runtime_in_words_and_ids(tmp_path):
    header = "ID,Name,State,Runtime,val_acc"
    study = load_study(
        export(tmp_path / "runs.csv", ["x1,a,running,1h 2m 5s,0.5", "x2,a,finished,5s,0.4"], header, "\n")
    )
    assert study.trials["trial_id"].tolist() == ["x1", "x2"]
    assert study.trials["seconds"].tolist() == [3725, 5]
    assert study.trials["state"].tolist() == ["running", "completed"]
    assert study.trials["created"].isna().all()


def test_a_metric_that_is_not_a_number_in_one_run(tmp_path):
    study = load_study(export(tmp_path / "runs.csv", [ROWS[0], ROWS[2].replace('"0.2"', '"0.x"')]))
    assert study.trials["best_val_acc"].tolist() == [0.41]
    assert study.read_errors["reason"].tolist() == ["val_acc is not a number: 0.x"]


# As W&B's page exports a sweep: its own columns, the configuration by the alphabet, the summary by the alphabet.
REAL_HEADER = (
    '"Name","Agent","State","Notes","User","Tags","Created","Runtime","Sweep","batch_size","data_dir","epochs",'
    '"img_size","lr","method","metric.goal","num_train_layers","parameters.lr","test_size","_runtime","_step",'
    '"backward_time_ms","checkpoint/path","dataset/length","epoch","eval/mse_mean","samples_per_second","train_loss"'
)
REAL_ROWS = [
    f'"run_{i}","","{state}","-","","","2025-11-13T09:48:1{i}.000Z","{9910 + i}","1wfhjnkh","{size}","","100","256",'
    f'"{lr}","","","{i}","","0.{i}","9910.5","{i}","304.0{i}","./best_{i}.pth","7440","100","{0.1 / (i + 1)}","29",""'
    for i, (state, size, lr) in enumerate([("finished", 8, 1e-4), ("preempted", 16, 1e-4), ("crashed", 8, 1e-3)])
]


def test_what_was_set_ends_where_the_alphabet_begins_anew(tmp_path):
    study = load_study(export(tmp_path / "r.csv", REAL_ROWS, REAL_HEADER), metric="eval/mse_mean", mode="min")
    assert study.parameters == ["batch_size", "lr", "num_train_layers", "test_size"]
    assert study.trials["state"].tolist() == ["completed", "stopped", "failed"]
    assert study.trials["best_val_acc"].tolist() == pytest.approx([0.1, 0.05, 0.1 / 3])
    assert (study.metric, study.mode) == ("eval/mse_mean", "min")
    assert study.trials["config/epochs"].tolist() == [100] * 3
    assert study.trials["seconds"].tolist() == [9910, 9911, 9912]


API_ROWS = [
    "\"{'_runtime': 60.0, '_timestamp': 1710238953.0, 'val_acc': 0.5, 'lr': 7, 'g': nan, '_wandb': {'runtime': 61}}\","
    "\"{'lr': 0.1, 'act': 'relu', 'bn': True, 'net': {'layers': 3}, 'k': None}\",gelu-1",
    "\"{'_wandb': {'runtime': 30}, 'val_acc': 'NaN', 'epoch': 4}\",\"{'lr': 0.2, 'act': 'gelu', 'bn': False}\",gelu-2",
    "\"__import__('os').abort()\",{},evil",
    "\"{'val_acc': 0.4}\",\"{'lr': 0.3, 'act': len('a')}\",evil-2",
    '"{""val_acc"": 0.3}","{""lr"": 0.4, ""act"": null}",json',
]


def test_the_table_that_the_api_gives(tmp_path):
    rows = [f"{i},{row}" for i, row in enumerate(API_ROWS)]
    study = load_study(export(tmp_path / "project.csv", rows, ",summary,config,name", "\n"))
    assert study.trials["name"].tolist() == ["gelu-1", "gelu-2", "json"]
    assert study.trials["best_val_acc"].fillna(-1).tolist() == [0.5, -1, 0.3]
    assert study.parameters == ["lr", "act", "bn", "net/layers"]
    assert study.trials["lr"].tolist() == [0.1, 0.2, 0.4]
    assert study.trials["seconds"].fillna(-1).tolist() == [60, 30, -1]
    assert study.trials["created"][0] == pd.Timestamp(1710238893, unit="s", tz="UTC")
    assert study.trials["epochs"].fillna(0).tolist() == [0, 4, 0]
    assert study.read_errors["place"].tolist() == ["project.csv line 4", "project.csv line 5"]


def test_an_api_table_without_any_run_that_can_be_read(tmp_path):
    path = export(tmp_path / "project.csv", ["x,y,z"], "summary,config,name", "\n")
    with pytest.raises(ValueError, match="no metric best_val_acc or val_acc"):
        load_study(path)


def test_python_code_in_a_dictionary_is_not_run(tmp_path):
    ran = tmp_path / "ran"
    code = f"__import__('pathlib').Path('{ran}').touch()"
    (tmp_path / "runs.csv").write_text(f'name,config,summary\na,"{code}","{code}"\nb,{{}},"{{\'val_acc\': 0.5}}"\n')
    study = load_study(tmp_path / "runs.csv")
    assert study.trials["name"].tolist() == ["b"]
    assert "is not a dictionary" in study.read_errors["reason"][0]
    assert not ran.exists()


def test_a_dictionary_nested_too_deeply_is_recorded(tmp_path):
    deep = "{'a': " * 5000 + "1" + "}" * 5000
    (tmp_path / "runs.csv").write_text(f'name,config,summary\na,"{deep}",{{}}\nb,{{}},"{{\'val_acc\': 0.5}}"\n')
    assert load_study(tmp_path / "runs.csv").trials["name"].tolist() == ["b"]
