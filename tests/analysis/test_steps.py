"""Studies whose curves count steps, not epochs."""

import re
from pathlib import Path

import numpy as np
import optuna
import pandas as pd
import pytest

from analysis import __main__ as command
from analysis.budgets import common_epoch, rungs
from analysis.comparable import sample_at
from analysis.early_stopping.replay import other_settings
from analysis.report.build import build
from analysis.report.write import write
from analysis.study import load_study
from analysis.wording import in_unit


def optuna_study(path: Path, trials: int = 12) -> Path:
    """Trials that report at steps 100, 200, ..., 900; some are stopped at step 100 and some at 300."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(storage=f"sqlite:///{path}", study_name="steps", direction="minimize")

    def objective(trial):
        rate = trial.suggest_float("rate", 1e-4, 1e-1, log=True)
        width = trial.suggest_categorical("width", ["128", "32", "64"])
        for step in range(100, 901, 100):
            loss = 1 / step + rate + int(width) / 1000
            trial.report(loss, step)
            if (trial.number % 3 == 1 and step == 100) or (trial.number % 4 == 2 and step == 300):
                raise optuna.TrialPruned
        return loss

    study.sampler = optuna.samplers.RandomSampler(seed=1)
    study.optimize(objective, n_trials=trials)
    return path


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    return optuna_study(tmp_path_factory.mktemp("steps") / "steps.db")


def test_steps_keep_their_numbers_and_budgets_are_steps(path):
    study = load_study(path)
    assert (study.step, study.unit) == ("step", "step")
    assert repr(study).startswith("<StudyData: 12 trials, ")
    assert " steps, 2 hyperparameters" in repr(study)
    assert sorted(study.trials["epochs"].unique()) == [100, 300, 900]
    assert common_epoch(study) == 100
    assert rungs(study) == [100, 300, 900]
    assert sample_at(study).budget_text == "lowest value within 100 steps, 12 of 12 trials"
    assert sample_at(study, 300).budget_text.startswith("lowest value within 300 steps, 8 of 12 trials; the other")
    with pytest.raises(ValueError, match="no trial trained for 1,000 steps; choose a budget of 1 to 900 steps"):
        sample_at(study, 1000)
    settings = other_settings(study)
    assert sorted(settings["grace"].unique()) == [100, 300, 500]
    assert settings["stopped"].max() > 0


def test_counting_from_zero_is_shifted_only_where_every_step_is_counted(tmp_path):
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    for name, steps in (("each", range(4)), ("some", range(0, 400, 100))):
        study = optuna.create_study(storage=f"sqlite:///{tmp_path / name}", study_name=name)
        trial = study.ask({"x": optuna.distributions.FloatDistribution(0, 1)})
        for step in steps:
            trial.report(1.0, step)
        study.tell(trial, 1.0)
    assert load_study(tmp_path / "each").history["epoch"].tolist() == [1, 2, 3, 4]
    assert load_study(tmp_path / "some").history["epoch"].tolist() == [0, 100, 200, 300]


@pytest.mark.slow
def test_no_text_of_the_report_claims_epochs(path, tmp_path):
    study = load_study(path)
    report = build(study, path)
    assert report.failures == []
    page = write(report, tmp_path)[0].read_text()
    summary = (tmp_path / "summary.md").read_text()
    assert "within 100 steps" in summary
    assert not re.findall(r"\bepochs?\b", summary)
    visible = re.sub(r"<script.*?</script>|<style.*?</style>|<[^>]*>", " ", page, flags=re.DOTALL)
    assert not re.findall(r"\bepochs?\b", visible)
    curves = next(figure for figure in report.figures if figure.name == "curves")
    assert curves.axes.get_xlabel() == "step"
    assert report.data["unit"] == "step"


@pytest.mark.parametrize("words", [["audit"], ["importance"], ["claims", "width=32 > width=128"]])
def test_no_command_claims_epochs(path, capsys, monkeypatch, words):
    monkeypatch.setattr("sys.argv", ["analysis", words[0], str(path), *words[1:]])
    command.main()
    printed = capsys.readouterr().out
    assert "step" in printed
    assert "epoch" not in printed


def test_columns_of_other_programs_name_the_steps(tmp_path):
    rows = [f"run{i},finished,{10.0**-i},0.{i},{100 * (i + 1)}" for i in range(4)]
    (tmp_path / "runs.csv").write_text("\n".join(["Name,State,lr,val_acc,_step", *rows]) + "\n")
    study = load_study(tmp_path / "runs.csv")
    assert (study.step, study.unit, study.trials["epochs"].tolist()) == ("_step", "step", [100, 200, 300, 400])
    for number in range(2):
        folder = tmp_path / "tune" / f"trial_{number}"
        folder.mkdir(parents=True)
        (folder / "params.json").write_text(f'{{"lr": 0.{number + 1}}}')
        lines = [f'{{"training_iteration": {i}, "val_acc": 0.{i}, "trial_id": "{number}"}}' for i in (1, 2)]
        (folder / "result.json").write_text("\n".join(lines) + "\n")
    study = load_study(tmp_path / "tune")
    assert (study.step, study.unit) == ("training_iteration", "training iteration")
    assert sample_at(study).budget_text == "best validation accuracy within 2 training iterations, 2 of 2 trials"


def test_the_unit_replaces_whole_words_only():
    assert in_unit("max_epochs of an epochal epoch", "step") == "max_steps of an epochal step"


def test_a_budget_of_many_steps_is_found_at_once():
    study = load_study  # a search that counts to a billion must not be walked through step by step
    frame = pd.DataFrame({"trial_id": ["a", "b"], "name": ["a", "b"], "state": "completed", "best_val_acc": [0.1, 0.2],
                          "trainable_parameters": np.nan, "epochs": [10**9, 10**9], "seconds": 1.0,
                          "created": pd.NaT, "node": "", "error": ""})  # fmt: skip
    history = pd.DataFrame({"trial_id": ["a", "b"], "epoch": [10**9] * 2, "val_acc": [0.1, 0.2]})
    from analysis.study import StudyData

    study = StudyData(frame, history, {}, [], step="step")
    assert common_epoch(study) == 10**9
