import json
import os
import shutil

import numpy as np
import pandas as pd
import pytest

from analysis.study import load_study
from tests.analysis.readers.tune_writer import START, STATE_FILE, full_result, write_experiment


def accuracies(*values, key="val_acc"):
    return [{key: value} for value in values]


def folder_of(directory, number):
    return next(directory.glob(f"f_d128a_{number:05d}_*"))


def append(directory, number, text, name="result.json"):
    with (folder_of(directory, number) / name).open("a") as file:
        file.write(text)


def test_trials_and_history(tmp_path):
    config = {"lr": 0.1, "opt": {"name": "adam", "betas": [0.9, 0.99]}, "bn": True}
    other = {"lr": 0.01, "opt": {"name": "sgd", "betas": [0.9, 0.99]}, "bn": False}
    results = [{"val_acc": 0.5, "val_loss": 1.5, "train_loss": 1.0}, {"val_acc": 0.4, "val_loss": 1.2}]
    directory = write_experiment(tmp_path, [{"config": config, "results": results}, {"config": other, "results": []}])
    study = load_study(directory)
    first, second = study.trials.iloc[0], study.trials.iloc[1]
    assert (first["trial_id"], first["name"], first["state"]) == ("d128a_00000", "0_x=1", "completed")
    assert (first["best_val_acc"], first["epochs"], first["seconds"], first["node"]) == (0.5, 2, 4.0, "vm")
    assert first["created"] == pd.Timestamp(START, unit="s", tz="UTC")
    assert (second["epochs"], second["seconds"]) == (0, 0.0)
    assert np.isnan(second["best_val_acc"])
    assert study.trials["opt/name"].tolist() == ["adam", "sgd"]
    assert study.trials["opt/betas"].tolist() == ["[0.9, 0.99]"] * 2
    assert study.trials["bn"].dtype == bool
    assert study.parameters == ["bn", "lr", "opt/name"]  # a parameter that does not vary is left out
    assert study.history["epoch"].tolist() == [1, 2]
    assert study.history["val_loss"].tolist() == [1.5, 1.2]
    assert study.read_errors.empty


def test_nothing_is_unpickled(tmp_path):
    directory = write_experiment(tmp_path, [{"config": {"x": 1}, "results": accuracies(0.5)}])
    (folder_of(directory, 0) / "params.json").unlink()  # params.pkl has them
    (folder_of(directory, 0) / "error.pkl").write_bytes((directory / "tuner.pkl").read_bytes())
    load_study(directory)
    assert not (directory / "unpickled.txt").exists()


@pytest.mark.parametrize(
    ("status", "done", "epochs", "state"),
    [
        ("TERMINATED", "returned", 1, "completed"),  # out of patience
        ("TERMINATED", "cut", 1, "stopped"),  # by the scheduler
        ("TERMINATED", "cut", 4, "completed"),  # by the scheduler at its max_t
        ("TERMINATED", None, 2, "stopped"),  # by a time budget
        ("RUNNING", None, 2, "running"),
        ("PENDING", None, 0, "running"),
        ("PAUSED", None, 2, "running"),
        ("ERROR", None, 2, "failed"),
    ],
)
def test_states(tmp_path, status, done, epochs, state):
    results = accuracies(*[0.5] * epochs)
    reference = {"config": {"x": 1}, "results": accuracies(0.1, 0.2, 0.3, 0.4)}
    one = {"config": {"x": 2}, "results": results, "status": status, "done": done}
    assert load_study(write_experiment(tmp_path, [reference, one])).trials["state"].tolist() == ["completed", state]


def test_a_trial_that_met_its_criterion_is_completed(tmp_path):
    reference = {"config": {"x": 1}, "results": accuracies(0.1, 0.2, 0.3)}
    met = {"config": {"x": 2}, "results": accuracies(0.95), "done": "cut", "criterion": {"val_acc": 0.9}}
    missed = {"config": {"x": 3}, "results": accuracies(0.85), "done": "cut", "criterion": {"val_acc": 0.9}}
    study = load_study(write_experiment(tmp_path, [reference, met, missed]))
    assert study.trials["state"].tolist() == ["completed", "completed", "stopped"]


def test_states_without_an_experiment_state(tmp_path):
    trials = [
        {"config": {"x": 1}, "results": accuracies(0.1, 0.2), "done": "cut"},
        {"config": {"x": 2}, "results": accuracies(0.1), "done": "cut"},
        {"config": {"x": 3}, "results": accuracies(0.1), "error": "ValueError: no"},
        {"config": {"x": 4}, "results": accuracies(0.1)},
    ]
    study = load_study(write_experiment(tmp_path, trials, state=False))
    assert study.trials["state"].tolist() == ["completed", "stopped", "failed", "running"]
    assert study.trials["x"].tolist() == [1, 2, 3, 4]
    assert study.trials["created"][0] == pd.Timestamp(START + 10, unit="s", tz="UTC")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('\x1b[36mray::f()\x1b[39m (pid=1)\n  File "f.py"\nRuntimeError: boom\nsecond line', "RuntimeError: boom"),
        ("ray::f()\ntorch.OutOfMemoryError: CUDA out of memory.", "torch.OutOfMemoryError: CUDA out of memory."),
        ("The actor died unexpectedly.\n\tpid: 3780", "The actor died unexpectedly."),
        ("ValueError: one\nFailure # 2 (occurred at now)\nKeyError: 'two'", "KeyError: 'two'"),
        ("ValueError: one\nFailure # 2 (occurred at now)\nThe actor died.", "The actor died."),
        ("KeyError: 'a'\nDuring handling, another occurred:\nValueError: b", "ValueError: b"),
        ("ray::f()\n\x1b[31mOSError: disk\x1b[39m", "OSError: disk"),
        ("", np.nan),
    ],
)
def test_the_error_is_the_line_with_the_exception(tmp_path, text, line):
    trial = {"config": {"x": 1}, "results": accuracies(0.5), "status": "ERROR", "error": text}
    error = load_study(write_experiment(tmp_path, [trial])).trials["error"][0]
    assert error is line or error == line


def test_half_written_and_damaged_results_are_counted(tmp_path):
    trials = [{"config": {"x": i}, "results": accuracies(0.1, 0.2)} for i in range(4)]
    directory = write_experiment(tmp_path, trials)
    append(directory, 0, '{"val_acc": 0.9, "traini')
    append(directory, 1, "\x00\x00\n" + json.dumps(full_result({"val_acc": 0.3}, 3, "d128a_00001", {})) + "\n[1]\n")
    (folder_of(directory, 2) / "result.json").write_text("")
    (folder_of(directory, 3) / "params.json").write_text('{"x": ')
    study = load_study(directory)
    assert study.trials["best_val_acc"].fillna(-1).tolist() == [0.2, 0.3, -1, 0.2]
    assert study.trials["x"].tolist() == [0, 1, 2, 3]  # the last value comes from the experiment state
    places = [place.split("/")[-1] for place in study.read_errors["place"]]
    assert places == ["result.json line 3", "result.json line 3", "result.json line 5", "params.json"]
    assert study.read_errors["reason"][0] == "half-written"
    assert study.read_errors["reason"][2] == "not a JSON object"


def test_parameters_come_from_a_result_if_no_other_file_has_them(tmp_path):
    directory = write_experiment(tmp_path, [{"config": {"x": 7}, "results": accuracies(0.1)}] * 2, state=False)
    for number in (0, 1):
        (folder_of(directory, number) / "params.json").unlink()
    (folder_of(directory, 1) / "result.json").write_text("")
    study = load_study(directory)
    assert study.trials["x"].tolist() == [7, pd.NA]
    assert study.read_errors["reason"].tolist() == ["the trial's parameters are unknown: it has no params.json"]


def test_a_trial_that_only_the_experiment_state_contains(tmp_path):
    trials = [
        {"config": {"x": 1}, "results": accuracies(0.1, 0.2)},
        {"config": {"x": 2}, "results": accuracies(0.1, 0.3), "folder": False},
        {"config": {"x": 3}, "results": [], "folder": False, "status": "PENDING"},
    ]
    study = load_study(write_experiment(tmp_path, trials))
    assert study.trials["x"].tolist() == [1, 2, 3]
    assert study.trials["epochs"].tolist() == [2, 2, 0]
    assert study.trials["state"].tolist() == ["completed", "completed", "running"]
    assert study.trials["best_val_acc"][1] == 0.3
    assert study.read_errors["reason"].tolist() == ["the trial's folder is missing; only its last result is known"]


def test_the_newest_of_several_experiment_states_is_used(tmp_path):
    trial = {"config": {"x": 1}, "results": accuracies(0.1, 0.2)}
    write_experiment(tmp_path, [trial | {"status": "RUNNING", "done": None}])
    shutil.rmtree(folder_of(tmp_path, 0))
    write_experiment(tmp_path, [trial], name="experiment_state-2026-11-24_21-04-11.json")
    assert load_study(tmp_path).trials["state"].tolist() == ["completed"]
    (tmp_path / "experiment_state-2026-11-24_22-00-00.json").write_text('{"trial_data": [["')
    study = load_study(tmp_path)
    assert study.trials["state"].tolist() == ["completed"]
    assert study.read_errors["place"].tolist() == ["experiment_state-2026-11-24_22-00-00.json"]


def test_entries_of_the_wrong_type_in_the_experiment_state_are_counted(tmp_path):
    directory = write_experiment(tmp_path, [{"config": {"x": i}, "results": accuracies(0.1)} for i in range(3)])
    state = json.loads((directory / STATE_FILE).read_text())
    entries = state["trial_data"]
    entries[0] = ["[]", "{}"]
    entries[1] = [json.dumps(json.loads(entries[1][0]) | {"stopping_criterion": 3}), '{"last_result": "none"}']
    (directory / STATE_FILE).write_text(json.dumps(state | {"trial_data": [*entries, 4, ["{}"]]}))
    study = load_study(directory)
    assert study.trials["x"].tolist() == [0, 1, 2]
    assert study.trials["state"].tolist() == ["running", "completed", "completed"]
    assert study.read_errors["place"].tolist() == [f"{STATE_FILE} trial {i}" for i in (0, 3, 4)]


def test_results_after_a_restore_replace_earlier_results(tmp_path):
    directory = write_experiment(tmp_path, [{"config": {"x": 1}, "results": accuracies(0.1, 0.2, 0.3, 0.9, 0.8)}])
    repeated = [full_result({"val_acc": value}, i, "d128a_00000", {}) for i, value in ((3, 0.35), (4, 0.4))]
    append(directory, 0, "".join(json.dumps(line) + "\n" for line in repeated))
    study = load_study(directory)
    assert study.history["epoch"].tolist() == [1, 2, 3, 4]
    assert study.history["val_acc"].tolist() == [0.1, 0.2, 0.35, 0.4]
    assert study.trials["best_val_acc"].tolist() == [0.4]
    assert study.trials["epochs"].tolist() == [4]


def test_values_that_are_not_numbers(tmp_path):
    results = accuracies(float("nan"), 0.3, float("inf"), "null", None)
    study = load_study(write_experiment(tmp_path, [{"config": {"x": 1}, "results": results}]))
    assert study.trials["best_val_acc"].tolist() == [0.3]  # an infinite accuracy is never the best
    assert study.trials["epochs"].tolist() == [5]
    assert study.history["val_acc"].isna().tolist() == [True, False, False, True, True]


def test_progress_csv_is_read_if_there_is_no_result_json(tmp_path):
    directory = write_experiment(tmp_path, [{"config": {"x": 1}, "results": []}])
    (folder_of(directory, 0) / "result.json").unlink()
    header = "val_acc,done,training_iteration,trial_id,time_this_iter_s,hostname,deep/loss\r\n"
    rows = "0.5,False,1,d128a_00000,2.0,vm,0.1\r\n0.6,False,2,d128a_00000,2.0,vm,0.2\r\n0.7,Fal"
    append(directory, 0, header + rows, name="progress.csv")
    study = load_study(directory, metric="deep/loss", mode="min")
    assert study.trials[["best_val_acc", "epochs", "seconds"]].values.tolist() == [[0.1, 2, 4.0]]
    assert study.trials["state"].tolist() == ["completed"]
    assert study.read_errors["reason"].tolist() == ["half-written: 0.7,Fal"]


def test_a_nested_metric_to_be_minimised(tmp_path):
    results = [{"val": {"loss": value}, "val_acc": 0.5} for value in (2.0, 1.0, 3.0)]
    study = load_study(write_experiment(tmp_path, [{"config": {"x": 1}, "results": results}]), "val/loss", "min")
    assert study.trials["best_val_acc"].tolist() == [1.0]  # not negated
    assert study.history["val_acc"].tolist() == [2.0, 1.0, 3.0]
    assert (study.info["metric"], study.info["mode"]) == ("val/loss", "min")


def test_best_val_acc_is_the_default_metric_and_the_history_keeps_val_acc(tmp_path):
    results = [{"val_acc": 0.5, "best_val_acc": 0.5}, {"val_acc": 0.3, "best_val_acc": 0.5}]
    study = load_study(write_experiment(tmp_path, [{"config": {"x": 1}, "results": results}]))
    assert study.info["metric"] == "best_val_acc"
    assert study.history["val_acc"].tolist() == [0.5, 0.3]


def test_an_unknown_metric_lists_the_numeric_columns(tmp_path):
    results = [{"score": 1.0, "deep": {"loss": 2.0}, "note": "x", "flag": True}]
    directory = write_experiment(tmp_path, [{"config": {"x": 1}, "results": results}])
    with pytest.raises(ValueError, match=r"no metric best_val_acc or val_acc; .* columns: score, deep/loss$"):
        load_study(directory)
    with pytest.raises(ValueError, match=r"no metric accuracy; .* columns: score, deep/loss$"):
        load_study(directory, metric="accuracy")


def test_an_experiment_without_results(tmp_path):
    directory = write_experiment(tmp_path, [{"config": {"x": 1}, "results": [], "status": "PENDING"}])
    study = load_study(directory)
    assert study.trials["state"].tolist() == ["running"]
    assert study.history.empty


def test_epochs_counted_by_the_trial_start_at_one(tmp_path):
    results = [{"val_acc": 0.1, "epoch": epoch} for epoch in (0, 5, 10)]
    study = load_study(write_experiment(tmp_path, [{"config": {"x": 1}, "results": results}]))
    assert study.history["epoch"].tolist() == [1, 6, 11]  # from 1
    assert study.trials["epochs"].tolist() == [11]


def test_parameters_with_the_name_of_a_column_and_requested_parameters(tmp_path):
    trials = [{"config": {"epochs": 30 + i, "name": "net", "x": 1}, "results": accuracies(0.1)} for i in (0, 1)]
    directory = write_experiment(tmp_path, trials)
    study = load_study(directory)
    assert study.trials["config/epochs"].tolist() == [30, 31]
    assert study.trials["epochs"].tolist() == [1, 1]
    assert study.parameters == ["config/epochs"]
    assert load_study(directory, parameters=["x"]).parameters == ["x"]
    with pytest.raises(ValueError, match="no parameter y; choose from: config/epochs, config/name, x"):
        load_study(directory, parameters=["y"])


@pytest.mark.parametrize("name", ["params.json", "result.json", "progress.csv", "error.txt"])
def test_a_link_or_pipe_in_an_experiment_is_not_read(tmp_path, name):
    secret = tmp_path / "secret"
    secret.write_text("SECRET: Error\nline")
    trial = {"config": {"x": 1}, "results": accuracies(0.5), "status": "ERROR", "error": "ValueError: a"}
    for number, make in enumerate((lambda path: path.symlink_to(secret), os.mkfifo)):
        directory = write_experiment(tmp_path / f"experiment{number}", [trial])
        if name == "progress.csv":
            (folder_of(directory, 0) / "result.json").unlink()
        (folder_of(directory, 0) / name).unlink(missing_ok=True)
        make(folder_of(directory, 0) / name)
        study = load_study(directory)
        assert "SECRET" not in study.trials.to_string() + study.read_errors.to_string()
        assert study.read_errors["place"].str.endswith(name).any()


def test_a_result_nested_as_deeply_as_the_parser_allows_is_read_up_to_a_depth(tmp_path):
    directory = write_experiment(tmp_path, [{"config": {"x": 1}, "results": accuracies(0.5)}])
    nested = '{"a": ' * 800 + "1" + "}" * 800
    append(directory, 0, json.dumps(full_result({"val_acc": 0.3}, 2, "d128a_00001", {}))[:-1] + f', "b": {nested}}}\n')
    assert load_study(directory).trials["best_val_acc"].tolist() == [0.5]
