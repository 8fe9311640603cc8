import json
import os
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis.budgets import longest_trial
from analysis.comparable import best_trials
from analysis.report.headline import best_trial, validation_fact
from analysis.study import load_study
from inat.study.folds import as_trial_row
from inat.study.study import Study
from tests.helpers import change_info


def write_study(directory: Path, trials: int = 3, epochs: int = 2) -> Path:
    study = Study.create(directory, {"config": {}, "seed": 7})
    for i in range(trials):
        params = {
            "lr": 10.0**-i,
            "batch_norm": i == 0,
            "activation": "none",
            "strategy": "freeze_partial",
            "k_layers": 2,
        }
        trial = study.add_trial(params | {"strategy": "freeze_all"} if i else params)
        for epoch in range(1, epochs + 1):
            accuracy = 0.1 * epoch + 0.01 * i
            row = {"epoch": epoch, "val_acc": accuracy, "val_loss": 1 / epoch, "best_val_acc": accuracy, "seconds": 2.0}
            study.add_epoch(trial.trial_id, row | {"trainable_parameters": 7}, node="vm")
        study.end_trial(trial.trial_id, "completed" if i else "failed", "" if i else 'ValueError: a, "b"')
    study.close()
    return directory


def append(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


def test_columns_and_types(tmp_path):
    study = load_study(write_study(tmp_path / "study"))
    assert study.parameters == ["lr", "batch_norm", "activation", "strategy", "k_layers"]
    measured = ["best_val_acc", "trainable_parameters", "epochs", "seconds", "created", "node", "error"]
    assert list(study.trials) == ["trial_id", "name", "state", *study.parameters, *measured]
    assert study.trials["batch_norm"].dtype == bool
    assert study.trials["k_layers"].tolist() == [2, pd.NA, pd.NA]  # without effect for the other strategies
    assert study.trials["k_layers"].dtype == "Int64"
    assert study.trials["activation"].tolist() == ["none"] * 3
    assert study.trials["lr"].tolist() == [1.0, 0.1, 0.01]
    assert study.trials["trainable_parameters"].tolist() == [7] * 3
    assert str(study.trials["created"].dt.tz) == "UTC"
    assert study.trials["error"].tolist() == ['ValueError: a, "b"', np.nan, np.nan]
    assert study.history["epoch"].dtype == np.int64
    assert study.info["seed"] == 7
    assert study.read_errors.empty


def test_a_study_without_trials(tmp_path):
    study = load_study(write_study(tmp_path / "study", trials=0))
    assert (len(study.trials), len(study.history), study.parameters) == (0, 0, [])
    assert str(study.trials["created"].dt.tz) == "UTC"


def test_a_half_written_line_is_left_out_even_with_all_fields(tmp_path):
    directory = write_study(tmp_path / "study")
    append(directory / "history.csv", "t0002,3,,,0.3,0.9,1")  # the start of 12.5 seconds
    study = load_study(directory)
    assert study.history["epoch"].max() == 2
    assert study.read_errors.values.tolist() == [["history.csv line 8", "half-written: t0002,3,,,0.3,0.9,1"]]


def test_damaged_rows_are_counted_and_the_others_are_read(tmp_path):
    directory = write_study(tmp_path / "study")
    append(
        directory / "history.csv",
        "t0002,3,,,0.3\nt0002,3,,,0.3,0.x,2.0,,,\n\n,3,,,0.3,0.9,2.0,,,\n\0\0\0\nt0002,4,,,,nan,2.0,,,\n",
    )
    append(directory / "trials.csv", 't0003,broken "quote,failed\n')
    study = load_study(directory)
    assert study.history.query("trial_id == 't0002'")["epoch"].tolist() == [1, 2, 4]
    assert len(study.trials) == 3
    assert study.read_errors.values.tolist() == [
        ["history.csv line 8", "5 fields instead of 10"],
        ["history.csv line 12", "1 fields instead of 10"],
        ["history.csv line 9", "val_acc is not a number: 0.x"],
        ["history.csv line 11", "has no trial_id or epoch"],
        ["trials.csv line 5", "3 fields instead of 15"],
    ]


def test_an_unclosed_quote_costs_one_row(tmp_path):
    directory = write_study(tmp_path / "study")
    lines = (directory / "trials.csv").read_text().splitlines()
    lines[2] = lines[2].replace("t0001,", 't0001,"')
    (directory / "trials.csv").write_text("\n".join(lines) + "\n")
    study = load_study(directory)
    assert study.trials["trial_id"].tolist() == ["t0000", "t0002"]
    assert study.read_errors["place"].tolist() == ["trials.csv line 3", "history.csv"]
    assert study.read_errors["reason"][1] == "2 rows of t0001, which is not in trials.csv"
    assert set(study.history["trial_id"]) == {"t0000", "t0002"}


def test_the_last_of_several_rows_of_a_trial_is_used(tmp_path):
    directory = write_study(tmp_path / "study", trials=1)
    row = (directory / "trials.csv").read_text().splitlines()[1]
    append(directory / "trials.csv", row.replace("failed", "completed") + "\n")
    assert load_study(directory).trials["state"].tolist() == ["completed"]


def test_a_repeated_epoch_replaces_all_epochs_from_there_on(tmp_path):
    directory = write_study(tmp_path / "study", trials=1, epochs=4)
    append(directory / "history.csv", "t0000,2,,,0.3,0.9,2.0,,,\n")
    assert load_study(directory).history["val_acc"].tolist() == [0.1, 0.9]


def test_missing_files_are_recorded_and_the_others_are_read(tmp_path):
    directory = write_study(tmp_path / "study")
    (directory / "history.csv").unlink()
    (directory / "study.json").write_text('{"seed":')
    study = load_study(directory)
    assert len(study.trials) == 3
    assert (len(study.history), study.info) == (0, {})
    assert study.read_errors["place"].tolist() == ["history.csv", "study.json"]


def test_another_metric_to_be_minimised(tmp_path):
    directory = write_study(tmp_path / "study", trials=2, epochs=4)
    study = load_study(directory, metric="val_loss", mode="min")
    assert study.trials["best_val_acc"].tolist() == [0.25, 0.25]
    assert study.history["val_acc"].tolist() == [1, 0.5, 1 / 3, 0.25] * 2
    with pytest.raises(ValueError, match=r"no metric loss; .* columns: val_loss, val_acc, seconds$"):
        load_study(directory, metric="loss")


def test_reading_while_a_search_writes(tmp_path):
    directory = write_study(tmp_path / "study", trials=1)
    stop = threading.Event()

    def write() -> None:
        header, row = (directory / "trials.csv").read_text().splitlines()
        number = 0
        while not stop.is_set():
            number = number % 50 + 1
            rows = [row.replace("t0000", f"t{i:04d}") for i in range(number)]
            (directory / "new").write_text("\n".join([header, *rows]) + "\n")
            os.replace(directory / "new", directory / "trials.csv")
            (directory / "study.json.new").write_text(json.dumps({"round": number}))
            os.replace(directory / "study.json.new", directory / "study.json")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        studies = [load_study(directory) for _ in range(20)]
    finally:
        stop.set()
        writer.join()
    assert all(study.trials["best_val_acc"].eq(0.2).all() for study in studies)
    assert all(study.read_errors.empty for study in studies)
    assert len({len(study.trials) for study in studies}) > 1


FORMULAS = ["=1+1", "'=1+1", "-x;=2", "@SUM(1)", "plain"]


def test_texts_that_look_like_formulas_are_escaped_in_the_file_and_read_back(tmp_path):
    study = Study.create(tmp_path / "study", {"config": {}})
    for text in FORMULAS:
        trial = study.add_trial({"=act": text, "lr": -0.5})
        study.add_epoch(trial.trial_id, {"epoch": 1, "best_val_acc": 0.5}, node=text)
        study.end_trial(trial.trial_id, "completed", text)
    study.close()
    written = (tmp_path / "study" / "trials.csv").read_text()
    assert ",=1+1" not in written
    assert ",'=1+1" in written
    loaded = load_study(tmp_path / "study")
    assert loaded.parameters == ["=act", "lr"]
    for column in ("=act", "node", "error"):
        assert loaded.trials[column].tolist() == FORMULAS
    assert loaded.trials["lr"].tolist() == [-0.5] * len(FORMULAS)


@pytest.mark.parametrize("name", ["trials.csv", "history.csv", "study.json"])
def test_a_link_out_of_the_study_is_not_read(tmp_path, name):
    secret = tmp_path / "secret"
    secret.write_text("root:x:0:0\nhalf a line")
    directory = write_study(tmp_path / "study")
    (directory / name).unlink()
    (directory / name).symlink_to(secret)
    if name == "trials.csv":
        with pytest.raises(OSError, match="a link that leads out of its folder"):
            load_study(directory)
        return
    errors = load_study(directory).read_errors
    assert errors["reason"][0] == "a link that leads out of its folder; put the file itself there"
    assert "half" not in errors.to_string()


@pytest.mark.parametrize("name", ["history.csv", "study.json"])
def test_a_pipe_in_a_study_is_recorded_instead_of_waited_for(tmp_path, name):
    directory = write_study(tmp_path / "study")
    (directory / name).unlink()
    os.mkfifo(directory / name)
    assert (
        load_study(directory).read_errors.to_numpy().tolist() == [[name, "not a regular file"]] or name != "study.json"
    )


@pytest.mark.parametrize(
    ("config", "left"),
    [
        ({"reduction_factor": 1.5, "grace_period": 1}, {"grace_period": 1}),
        ({"grace_period": -1, "reduction_factor": 3}, {"reduction_factor": 3}),
        ({"max_epochs": 10**30, "max_concurrent": 0, "num_samples": True, "seed": 1}, {"seed": 1}),
        ([1], {}),
        ("text", {}),
    ],
    ids=str,
)
def test_settings_that_no_search_can_have_are_left_out(tmp_path, config, left):
    directory = write_study(tmp_path / "study")
    (directory / "study.json").write_text(json.dumps({"config": config}))
    study = load_study(directory)
    assert study.info == {"config": left}
    assert len(study.read_errors) == (len(config) - len(left) if isinstance(config, dict) else 0)


@pytest.mark.parametrize("text", ["[" * 100_000, "{", "[1]", "NaN", "9" * 5000])
def test_a_study_json_that_is_no_object_is_recorded(tmp_path, text):
    directory = write_study(tmp_path / "study")
    (directory / "study.json").write_text(text)
    study = load_study(directory)
    assert (study.info, len(study.read_errors)) == ({}, 1)


def objective_study(directory: Path, metric: str) -> Path:
    """Two trials: the first has the better loss and macro F1, the second the better accuracy."""
    study = Study.create(directory, {"config": {"metric": metric}})
    column = study.objective.best_column
    for accuracy, loss, f1 in ((0.6, 0.5, 0.4), (0.7, 0.9, 0.3)):
        trial = study.add_trial({"lr": loss})
        row = {"epoch": 1, "val_acc": accuracy, "val_loss": loss, "val_macro_f1": f1, "seconds": 1.0}
        study.add_epoch(trial.trial_id, row | {column: row[study.objective.column]})
        study.end_trial(trial.trial_id, "completed")
    study.close()
    return directory


def write_folded(directory: Path) -> Path:
    """Two trials with two folds of two epochs, and a lucky one that was stopped after the first."""
    study = Study.create(directory, {"config": {"folds": 2, "max_epochs": 2, "grace_period": 1, "reduction_factor": 3}})
    for values in ([0.9, 0.7], [0.8, 0.9], [0.95]):
        trial = study.add_trial({"lr": 10.0 ** -len(study.trials)})
        before: list[dict] = []
        for fold, value in enumerate(values, start=1):
            metrics = {"val_acc": value, "val_loss": 1 - value, "best_val_acc": value, "seconds": 1.0}
            rows = [as_trial_row({"epoch": epoch} | metrics, fold, before, epoch == 2) for epoch in (1, 2)]
            before = [*before, *rows]
        for row in before:
            study.add_epoch(trial.trial_id, row)
        study.end_trial(trial.trial_id, "completed" if len(values) == 2 else "stopped")
    study.close()
    return directory


@pytest.mark.parametrize(
    ("metric", "column", "mode", "best"),
    [
        ("accuracy", "best_val_acc", "max", [0.6, 0.7]),
        ("val_loss", "best_val_loss", "min", [0.5, 0.9]),
        ("macro_f1", "best_val_macro_f1", "max", [0.4, 0.3]),
    ],
)
def test_a_study_is_compared_by_what_its_search_optimised(tmp_path, metric, column, mode, best):
    study = load_study(objective_study(tmp_path / "study", metric))
    assert (study.metric, study.mode, study.parameters) == (column, mode, ["lr"])
    assert study.trials["best_val_acc"].tolist() == study.history["val_acc"].tolist() == best
    assert study.read_errors.empty


@pytest.mark.parametrize("own", ["accuracy", "val_loss", "macro_f1"])
@pytest.mark.parametrize(
    ("metric", "mode", "best"),
    [("val_acc", "max", [0.6, 0.7]), ("val_loss", "min", [0.5, 0.9]), ("val_macro_f1", "max", [0.4, 0.3])],
)
def test_every_recorded_metric_can_be_compared_whatever_the_search_optimised(tmp_path, own, metric, mode, best):
    study = load_study(objective_study(tmp_path / "study", own), metric=metric)
    assert (study.metric, study.mode, study.trials["best_val_acc"].tolist()) == (metric, mode, best)


def test_an_unknown_objective_is_recorded_and_the_accuracy_compared(tmp_path):
    directory = objective_study(tmp_path / "study", "accuracy")
    change_info(directory, lambda info: info["config"].update(metric="auc"))
    study = load_study(directory)
    assert study.read_errors.values.tolist() == [["study.json", "unknown metric 'auc'"]]
    assert (study.metric, study.trials["best_val_acc"].tolist()) == ("best_val_acc", [0.6, 0.7])


def test_with_folds_results_are_means_and_curves_are_those_of_the_first_fold(tmp_path):
    study = load_study(write_folded(tmp_path / "study"))
    assert study.parameters == ["lr"]
    assert study.trials["best_val_acc"].tolist() == pytest.approx([0.8, 0.85, 0.95])
    assert study.trials["standard_error"].tolist() == pytest.approx([0.1, 0.05, np.nan], nan_ok=True)
    assert study.trials["epochs"].tolist() == [4, 4, 2]
    assert study.history["epoch"].tolist() == [1, 2] * 3
    assert longest_trial(study) == 2
    best = best_trials(study)
    assert best["trial_id"].tolist() == ["t0001", "t0000", "t0002"]
    assert best["folds_done"].tolist() == [2, 2, 1]


def test_another_metric_than_that_of_the_search_is_of_the_first_fold_and_has_no_standard_error(tmp_path):
    study = load_study(write_folded(tmp_path / "study"), metric="val_loss")
    assert study.trials["best_val_acc"].tolist() == pytest.approx([0.1, 0.2, 0.05])
    assert "standard_error" not in study.trials
    assert validation_fact(study, best_trial(study, {})).note.startswith("optimistic: the best of ")


def test_the_report_of_a_study_with_folds_has_the_standard_error(tmp_path):
    study = load_study(write_folded(tmp_path / "study"))
    best = best_trial(study, {})
    assert best["trial_id"] == "t0001"
    assert validation_fact(study, best).note.startswith(
        "standard error 0.0500, mean over 2 trainings; optimistic: the best of 3 trials"
    )
