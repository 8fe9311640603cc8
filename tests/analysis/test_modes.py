"""A study to be minimised gives the same statistics as its negated copy, which is to be maximised."""

import json
from dataclasses import replace

import numpy as np
import optuna
import pandas as pd
import pytest

from analysis.__main__ import main
from analysis.claims.check import check_claims
from analysis.claims.grammar import parse
from analysis.comparable import sample_at
from analysis.compare import comparison
from analysis.early_stopping.audit import audit_tables
from analysis.stats.effects import pairwise_effects, value_effects
from analysis.stats.importance import importance, wandb_panel
from analysis.stats.interaction import interactions, pair_table
from analysis.stats.partial_dependence import partial_dependence
from analysis.study import load_study
from tests.analysis.studies import study_of

CLAIMS = [parse(text) for text in ("a=x > y", "a in (x, y) > z", "a=x best", "a=z worst", "b=1 poor", "b=1 < 2")]


def search(seed, n=40, scale=1.0, shift=0.0):
    """Trials with an effect of ``a``; the worse half is stopped after 3 of 9 epochs, one fails without a report."""
    rng = np.random.default_rng(seed)
    params = [{"a": str(rng.choice(list("xyz"))), "b": int(rng.integers(1, 3)), "lr": 10 ** rng.uniform(-4, -1)}
              for _ in range(n)]  # fmt: skip
    level = np.array([0.15 + 0.3 * (p["a"] == "x") + 0.05 * p["b"] for p in params]) + rng.normal(size=n) * 0.05
    states = ["completed" if early > np.median(level) else "stopped" for early in level]
    states[3] = "failed"
    curves = [
        [*(scale * (start + 0.03 * np.arange(9) + rng.normal(size=9) * 0.01) + shift)][: 9 if s == "completed" else 3]
        for start, s in zip(level, states, strict=True)
    ]
    curves[3] = []
    curves[4][1] = np.nan
    return study_of(params, curves, states, grace_period=3, reduction_factor=3, max_epochs=9)


def negated(study):
    trials = study.trials.assign(best_val_acc=-study.trials["best_val_acc"])
    history = study.history.assign(val_acc=-study.history["val_acc"])
    return replace(study, trials=trials, history=history, mode="min", metric="val/loss")


def assert_mirrored(table, twin, flipped=(), swapped=()):
    """Assert equality up to the sign of ``flipped`` columns; pairs of ``swapped`` columns also change places."""
    back = twin.copy()
    for name in flipped:
        back[name] = -twin[name]
    for low, high in swapped:
        back[low], back[high] = -twin[high], -twin[low]
    pd.testing.assert_frame_equal(table, back, check_exact=False, rtol=1e-6, atol=1e-9)


ENDS = ("low", "high")
ADJUSTED = ("adjusted_low", "adjusted_high")


@pytest.mark.parametrize(("seed", "scale", "shift"), [(0, 1, 0), (1, 30, -7)])
def test_effects_claims_and_audit(seed, scale, shift):
    study = search(seed, scale=scale, shift=shift)
    twin = negated(study)
    own, other = sample_at(study), sample_at(twin)
    flipped = ["mean", "median", "best", "adjusted"]
    assert_mirrored(value_effects(own), value_effects(other), flipped, [ENDS, ADJUSTED])
    assert_mirrored(pairwise_effects(own), pairwise_effects(other), ["difference", "adjusted"], [ADJUSTED])
    assert_mirrored(interactions(own), interactions(other))
    assert_mirrored(pair_table(own, "a", "b"), pair_table(other, "a", "b"), ["mean", "best"], [ENDS])
    assert_mirrored(check_claims(study, CLAIMS), check_claims(twin, CLAIMS))
    for title, table in audit_tables(study).items():
        names = (
            ["best_val_acc"]
            if title == "Best so far against epochs spent"
            else ["best"]
            if title.startswith("Other")
            else []
        )
        assert_mirrored(table, audit_tables(twin)[title], names)


def test_importance_and_dependence():
    own, other = sample_at(search(1, n=25)), sample_at(negated(search(1, n=25)))
    assert_mirrored(importance(own), importance(other))
    turned = [("pearson_low", "pearson_high"), ("spearman_low", "spearman_high")]
    assert_mirrored(wandb_panel(own), wandb_panel(other), ["pearson", "spearman"], turned)
    assert_mirrored(partial_dependence(own, ["a"]), partial_dependence(other, ["a"]), ["predicted"], [ENDS])


def test_comparison():
    studies = {"one": search(1), "two": search(2)}
    twins = {name: negated(study) for name, study in studies.items()}
    assert_mirrored(comparison(studies), comparison(twins), ["worst", "median", "best"])
    with pytest.raises(
        ValueError, match=r"cannot compare studies with different modes \(one: max, two: min\); name one metric"
    ):
        comparison({"one": studies["one"], "two": twins["two"]})


def test_an_infinite_loss_is_not_a_result():
    study = negated(search(0))
    study.history.loc[study.history["trial_id"].eq("t0000"), "val_acc"] = np.inf
    assert "t0000" not in set(sample_at(study).trials["trial_id"])
    assert len(importance(sample_at(study)))


def test_sentences_name_the_metric():
    assert sample_at(negated(search(0))).budget_text.startswith("lowest val/loss within 3 epochs, 39 of 39 trials")
    assert sample_at(replace(search(0), metric="val/auc")).budget_text.startswith("highest val/auc within")


def run(capsys, monkeypatch, *arguments):
    monkeypatch.setattr("sys.argv", ["analysis", *map(str, arguments)])
    main()
    return capsys.readouterr().out


def write_tune(folder):
    """Write a Tune experiment of 30 trials whose loss is lower with batch norm."""
    rng = np.random.default_rng(0)
    for i in range(30):
        trial = folder / f"trial_{i:02d}"
        trial.mkdir(parents=True)
        config = {"batch_norm": i % 2 == 0, "lr": float(rng.choice([0.1, 0.01]))}
        (trial / "params.json").write_text(json.dumps(config))
        losses = 2.0 - 0.5 * config["batch_norm"] + rng.normal() * 0.05 - 0.1 * np.arange(3)
        rows = [{"training_iteration": e, "val": {"loss": loss}, "time_this_iter_s": 1.0, "done": e == 3,
                 "trial_id": f"{i:02d}", "config": config} for e, loss in enumerate(losses, start=1)]  # fmt: skip
        (trial / "result.json").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_commands_on_a_tune_experiment_that_minimises(tmp_path, capsys, monkeypatch):
    folder = write_tune(tmp_path / "experiment")
    options = ["--metric", "val/loss", "--mode", "min"]
    printed = run(capsys, monkeypatch, "claims", folder, "batch_norm=True > False", "batch_norm=False best", *options)
    assert "lowest val/loss within 3 training iterations, 30 of 30 trials" in printed
    assert printed.index("supported") < printed.index("contradicted")
    printed = run(capsys, monkeypatch, "importance", folder, *options, "--csv", tmp_path / "t.csv")
    table = pd.read_csv(tmp_path / "t.csv")
    assert table["parameter"].iloc[0] == "batch_norm"
    assert table.loc[table["column"].eq("batch_norm=True"), "pearson"].item() < -0.9  # in the sign of the loss
    printed = run(capsys, monkeypatch, "audit", folder, *options)
    assert "val/loss" in printed
    assert "best_val_acc" not in printed
    printed = run(capsys, monkeypatch, "compare", folder, "--output", tmp_path, *options)
    row = pd.read_csv(tmp_path / "comparison.csv").iloc[0]
    assert row["best"] < row["median"] < row["worst"]
    assert row["epochs_to_best"] == 3


@pytest.fixture
def database(tmp_path):
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    for name, direction in (("losses", "minimize"), ("scores", "maximize")):
        study = optuna.create_study(storage=f"sqlite:///{tmp_path / 'o.db'}", study_name=name, direction=direction,
                                    sampler=optuna.samplers.RandomSampler(0))  # fmt: skip
        study.optimize(lambda trial: trial.suggest_categorical("x", [1, 2]) + 0.1 * trial.suggest_float("y", 0, 1), 20)
    return tmp_path / "o.db"


def test_the_direction_of_a_database_is_its_mode(database, capsys, monkeypatch):
    for name, verdict in (("losses", "supported"), ("scores", "contradicted")):
        assert load_study(database, study=name).mode == {"losses": "min", "scores": "max"}[name]
        assert f" {verdict} " in run(capsys, monkeypatch, "claims", database, "x=1 > 2", "--study", name)
    with pytest.raises(ValueError, match="has the direction MAXIMIZE; leave out mode=min"):
        load_study(database, mode="min", study="scores")


def test_only_databases_accept_a_study_name(tmp_path):
    folder = write_tune(tmp_path / "e")
    with pytest.raises(ValueError, match="is not an Optuna database and holds one study; leave out the study name s"):
        load_study(folder, "val/loss", study="s")
