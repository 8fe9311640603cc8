import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis.__main__ import audit, claims, importance, main
from analysis.reading import Reading
from inat.study.study import Study


@pytest.fixture(scope="module")
def directory(tmp_path_factory) -> Path:
    """A study of 40 trials with batch norm on and off; half of them are stopped after 3 of 9 epochs."""
    rng = np.random.default_rng(0)
    study = Study.create(
        tmp_path_factory.mktemp("s") / "study",
        {"config": {"grace_period": 3, "reduction_factor": 3, "max_epochs": 9}},
    )
    for i in range(40):
        on = bool(rng.random() < 0.5)
        trial = study.add_trial({"batch_norm": on, "dropout": float(rng.choice([0.2, 0.3]))})
        level = 0.4 + 0.2 * on + rng.normal() * 0.02
        for epoch in range(1, 10 if on else 4):
            best = level + 0.02 * epoch
            row = {"epoch": epoch, "val_acc": best, "val_loss": 1 - best, "best_val_acc": best, "seconds": 1.0}
            study.add_epoch(trial.trial_id, row)
        study.end_trial(trial.trial_id, "failed" if i == 7 else "completed" if on else "stopped", "broke" * (i == 7))
    study.close()
    return study.directory


def test_the_published_takeaways_are_the_default_claims(directory, capsys, tmp_path):
    claims(directory, csv=tmp_path / "claims.csv")
    printed = capsys.readouterr().out
    assert "best validation accuracy within 3 epochs, 40 of 40 trials" in printed
    table = pd.read_csv(tmp_path / "claims.csv").set_index("claim")["verdict"]
    assert table["batch_norm=True > batch_norm=False"] == "supported"
    assert table["dropout=0.3 > dropout=0.2"] == "undecided"
    assert len(table) == 3  # these two, and the stability of the loss
    left_out = "7 of the ten claims published for nature_12K are left out: their hyperparameters do not vary"
    assert printed.startswith(left_out)
    assert "\nWhether these verdicts hold at epoch 9, the last, cannot be known (0 ended control trials" in printed


def test_importance_is_printed_with_budget_and_reliability(directory, capsys, tmp_path):
    importance(directory, csv=tmp_path / "t.csv")
    printed = capsys.readouterr().out
    assert "within 3 epochs" in printed
    assert "out-of-bag R²" in printed
    assert "\nWhether this ranking holds at epoch 9, the last, cannot be known (0 ended control trials" in printed
    table = pd.read_csv(tmp_path / "t.csv")
    assert set(table["table"]) == {"importance", "columns"}
    assert table["parameter"].iloc[0] == "batch_norm"


def test_unreadable_rows_are_counted_on_stderr(directory, capsys, tmp_path):
    damaged = tmp_path / "damaged"
    shutil.copytree(directory, damaged)
    with (damaged / "history.csv").open("a") as file:
        file.write("t0001,x\n")
    audit(damaged)
    assert (
        f"{damaged}: 1 rows or files could not be read and are left out; the first is history.csv line"
        in capsys.readouterr().err
    )
    audit(directory)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("command", ["audit", "compare"])
def test_an_export_without_epochs_and_curves(tmp_path, monkeypatch, capsys, command):
    rows = [f'"r{i}","finished","{"ab"[i % 2]}","0.{i}"' for i in range(1, 9)]
    (tmp_path / "runs.csv").write_text("\n".join(['"Name","State","act","val_acc"', *rows]))
    monkeypatch.setattr("sys.argv", ["analysis", command, str(tmp_path / "runs.csv")])
    main()
    assert capsys.readouterr().out


def test_the_audit_of_a_study_without_trials(tmp_path, capsys):
    study = Study.create(tmp_path / "study", {"config": {"max_epochs": 9}})
    study.close()
    audit(study.directory)
    assert "Failures" in capsys.readouterr().out


def test_only_the_requested_parameters_are_analysed(directory):
    assert Reading(parameters=("dropout",)).load(directory).parameters == ["dropout"]
    with pytest.raises(ValueError, match="no parameter speed; choose from: batch_norm, dropout"):
        Reading(parameters=("speed",)).load(directory)


def test_the_audit_prints_its_tables(directory, capsys):
    audit(directory)
    printed = capsys.readouterr().out
    for title in ("saved", "Rank correlation", "from control trials", "replayed", "Slots busy", "Failures"):
        assert title in printed
    assert "broke" in printed
    assert printed.startswith(
        "How many winners early stopping missed, and whether effects hold at the last epoch, cannot"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["speed=1 > 2"],
            "claim 'speed=1 > 2': speed is not a hyperparameter that varied; choose from batch_norm, dropout",
        ),
        (["--epochs", "99"], "no trial trained for 99 epochs; choose a budget of 1 to 9 epochs"),
    ],
)
def test_a_wrong_argument_is_one_line(directory, monkeypatch, capsys, arguments, message):
    monkeypatch.setattr("sys.argv", ["analysis", "claims", str(directory), *arguments])
    with pytest.raises(SystemExit, match="2"):
        main()
    assert capsys.readouterr().err == f"error: {message}\n"
