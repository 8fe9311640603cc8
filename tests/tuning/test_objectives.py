"""A search follows its metric, on a real local Ray with an objective of a few lines."""

import json

import optuna
import pytest
from ray import tune

from analysis.study import load_study
from inat.config.search import SearchConfig
from inat.data.splits import DataSummary
from inat.errors import ConfigError
from inat.tuning import search
from inat.tuning.best import write_best
from inat.tuning.task import check_metric


def imbalanced(params):
    """Without dropout 0.3 a network is right about the frequent class only; learning is quick with 64 neurons."""
    rare = params["dropout"] == 0.3
    quick = 0.01 * (params["num_neurons_dense"] == 64)
    metrics = {
        "val_acc": (0.90 if rare else 0.95) + quick,
        "val_balanced_acc": (0.85 if rare else 0.5) + quick,
        "val_loss": (0.4 if rare else 0.9) - quick,
    }
    for epoch in range(1, 10):
        gain = (9 - epoch) / 100
        row = {name: value + (gain if name == "val_loss" else -gain) for name, value in metrics.items()}
        best = {f"best_{name}": value for name, value in row.items()}
        tune.report({"epoch": epoch, "seconds": 0.0} | row | best)


def run(tmp_path, metric: str, trials: int = 12, **changes) -> search.Study:
    settings = {"data": "digits", "num_samples": trials, "max_epochs": 9, "storage_path": tmp_path, "name": metric,
                "metric": metric, "max_concurrent": 1, "image_size": 16}  # fmt: skip
    config = SearchConfig(**settings | changes)
    study, space = search.open_study(config)
    search.run(config, study, space, imbalanced)
    write_best(study)
    study.close()
    return study


@pytest.mark.long
@pytest.mark.slow
def test_a_search_by_balanced_accuracy_finds_another_winner_than_one_by_accuracy(tmp_path):
    winners = {metric: run(tmp_path, metric).best() for metric in ("accuracy", "balanced_accuracy")}
    assert {metric: trial.params["dropout"] for metric, trial in winners.items()} == {
        "accuracy": 0.2, "balanced_accuracy": 0.3,
    }  # fmt: skip
    for metric, trial in winners.items():
        best = json.loads((tmp_path / metric / "best.json").read_text())
        assert (best["trial_id"], best[trial.objective.best_column]) == (trial.trial_id, trial.best_value)
        loaded = load_study(tmp_path / metric)
        assert loaded.metric == trial.objective.best_column
        assert loaded.trials["best_val_acc"].max() == trial.best_value


@pytest.mark.long
@pytest.mark.slow
def test_a_resumed_search_that_minimises_goes_on_as_the_whole_one(tmp_path):
    whole = run(tmp_path / "whole", "val_loss", trials=16)
    run(tmp_path / "parts", "val_loss", trials=9)
    parts = run(tmp_path / "parts", "val_loss", trials=16, resume=tmp_path / "parts" / "val_loss")
    assert any(trial.state == "stopped" for trial in whole.trials.values())
    decided = [[(t.params, t.state, t.epochs, t.best_value) for t in s.trials.values()] for s in (whole, parts)]
    assert decided[0] == decided[1]
    database = optuna.load_study(study_name=None, storage=f"sqlite:///{parts.directory}/study.db")
    assert database.direction == optuna.study.StudyDirection.MINIMIZE
    assert database.best_trial.user_attrs["trial_id"] == parts.best().trial_id


def test_the_top_two_of_two_classes_are_always_right():
    config = SearchConfig(data="photos", metric="top2")
    with pytest.raises(ConfigError, match="--metric top2 is 1 for every network, because photos has 2 classes"):
        check_metric(config, DataSummary("f", ("ant", "bee"), 10, 6))
    check_metric(config, DataSummary("f", ("ant", "bee", "cat"), 10, 6))


@pytest.mark.parametrize("option", [{"class_weights": "balanced"}, {"balanced_sampler": True}])
def test_a_space_and_an_option_cannot_both_decide_on_rare_classes(tmp_path, option):
    (name,) = option
    space = tmp_path / "space.py"
    space.write_text(
        "from ray import tune\nfrom inat.tuning.space.presets import small_space\n"
        f"def space(): return small_space() | {{{name!r}: {option[name]!r}}}\n"
    )
    settings = {"data": "digits", "image_size": 16, "storage_path": tmp_path / "results", "space": str(space)}
    with pytest.raises(ConfigError, match=f"contains {name} already; leave out --{name.replace('_', '-')}"):
        search.open_study(SearchConfig(**settings | option))
