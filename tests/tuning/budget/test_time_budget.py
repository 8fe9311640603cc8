"""A planned search from its beginning to its report, on a real local Ray."""

import json
import os
import signal
import time
from dataclasses import replace

import pytest
from ray import tune

from analysis.rungs import epochs_at
from analysis.study import load_study
from inat.cli import parse_search
from inat.config.search import SearchConfig
from inat.constants import LAST_DIR, TIME_PLAN
from inat.errors import Interruption
from inat.study.journal import Journal
from inat.study.study import Study
from inat.study_check.command import check_study
from inat.training.checkpoint import load_checkpoint
from inat.tuning import command, search
from inat.tuning.budget import begin, last_training
from inat.tuning.budget.clock import Clock
from inat.tuning.budget.costs import Measured
from inat.tuning.budget.measure import Planned
from inat.tuning.budget.plan import make_plan
from inat.tuning.network_timing import NetworkSpeed
from inat.tuning.ray_backend.slots import Slots
from tests.tuning.budget.test_plan import facts, size_cost

pytestmark = [pytest.mark.slow, pytest.mark.long]
OPTIONS = ["--image-size", "16", "--time-budget", "10m", "--gpus-per-trial", "0"]


@pytest.fixture
def planned(monkeypatch):
    """A plan of few trials and epochs, instead of one that depends on this machine; time for more trials is left."""
    plan = replace(
        make_plan(facts(seconds=600.0, images=1150, side=8, cores=2), [size_cost(16, 0.5, 0.4)]),
        trials=4, max_epochs=2, grace_period=1, most_epochs=4, last_epochs=4,
    )  # fmt: skip

    def plan_here(config, photos, classes, begun):
        speed = NetworkSpeed(0.001, 0.001, 1.0)
        measured = [Measured(image_size=16, operations=1, slot=speed, alone=speed)]
        return Planned(plan, photos, classes, Slots(2, 1, 0), 2, measured)

    monkeypatch.setattr(begin, "plan_here", plan_here)
    monkeypatch.setattr(search.rules, "MOST_TRIALS", 6)
    return plan


def run(*args: str, planned_from: float | None = None) -> None:
    command.search_and_report(parse_search(SearchConfig, "", args), planned_from=planned_from)


@pytest.mark.parametrize("refit", ["all", "train"])
def test_a_planned_search_trains_its_best_once_more_and_tests_once(
    tmp_path, image_tree, planned, capsys, monkeypatch, refit
):
    data = ["--data", str(image_tree(train=30, val=5)), "--cache-dir", str(tmp_path / "cache")]
    where = [*data, "--storage-path", str(tmp_path), "--name", "study"]
    real = last_training.run_trials

    def interrupted(spec, limits, **options):
        result = real(spec, limits, **options)
        return replace(result, interrupted=True)

    with monkeypatch.context() as patched:
        patched.setattr(last_training, "run_trials", interrupted)
        with pytest.raises(Interruption):
            run(*OPTIONS, "--refit", refit, *where, planned_from=time.monotonic())
    out = capsys.readouterr().out
    parts = [line[:8] for line in out.splitlines()[:6]]
    assert parts == ["timing  ", "plan    ", "search  ", "last    ", "time    ", "timed   "]
    assert "continue with: " in out
    assert not (tmp_path / "study" / "report.html").exists()

    run("--resume", str(tmp_path / "study"), "--cache-dir", str(tmp_path / "cache"))
    out = capsys.readouterr().out
    study, directory = load_study(tmp_path / "study"), tmp_path / "study"
    assert (len(study.trials), study.unit) == (6, "recipe epoch")
    assert study.trials["epochs"].max() <= 2
    info = json.loads((directory / "study.json").read_text())
    assert info[TIME_PLAN]["trials"] == 4
    first = study.trials.iloc[0]
    assert first["width"] == info["recipe_params"]["width"]
    (last,) = Journal.read(directory / LAST_DIR).trials.values()
    repeated = Journal.read(directory).trials[json.loads((directory / LAST_DIR / "study.json").read_text())["last_of"]]
    epochs = epochs_at(4, repeated.epoch_cost)  # a network that is cheaper than the recipe has more of them
    assert (last.epochs, last.state) == (epochs, "completed")
    best = json.loads((directory / "best.json").read_text())
    values = (last.best_value, study.trials["best_val_acc"].max())
    weights = load_checkpoint(directory / "best.ckpt").config.data.train_on_val
    if refit == "train":
        assert best["best_val_acc"] == max(values)
        assert (
            f"last    {values[0]:.4f} best validation accuracy in {epochs} epochs, {values[1]:.4f} in the search" in out
        )
        assert not weights
    else:  # so short a training may be worse on what it has learnt than the best trial on 6 other images
        trained = f"last    {epochs} epochs on the training and validation photos together"
        used = f"{trained}: best.ckpt is of this training" in out
        assert used or f"{trained}, not used, as this" in out
        assert best["best_val_acc"] == values[1]
        assert ("refit" in best) is used is weights
    assert f"{best['test']['test_acc']:.4f} on 10 held-out images, evaluated once" in out
    assert (directory / "report.html").exists()
    lines: list[str] = []
    assert check_study(directory, False, lines.append) == (0, 0), lines


def test_a_last_training_interrupted_in_the_middle_goes_on_after_its_last_epoch(tmp_path):
    driver = os.getpid()

    def objective(params):
        first = params["known_epochs"] == 0
        for epoch in range(params["known_epochs"] + 1, params["max_epochs"] + 1):
            value = epoch / params["max_epochs"]
            tune.report({"epoch": epoch, "best_val_acc": value, "seconds": 1.0 if first else 2.0})
            if first and epoch == 3:
                os.kill(driver, signal.SIGINT)
            time.sleep(0.5 if first else 0.0)

    plan = make_plan(facts(cores=2), [size_cost(epoch=10.0, alone=5.0)])
    config = SearchConfig(data="digits", image_size=8, max_epochs=plan.max_epochs, grace_period=plan.grace_period,
                          num_samples=1, gpus_per_trial=0)  # fmt: skip
    info = {TIME_PLAN: plan.to_json(), "config": config.to_json(), "data": {"fingerprint": "f"}, "space": {"x": [1]}}
    study = Study.create(tmp_path / "planned", info)
    trial = study.add_trial({"x": 1})
    study.add_epoch(trial.trial_id, {"epoch": 1, "best_val_acc": 0.5, "seconds": 1.0})
    study.end_trial(trial.trial_id, "completed")
    clock = Clock(plan, time.monotonic() + plan.seconds)
    assert not last_training.train_last(config, study, clock, objective)
    (part,) = Journal.read(study.directory / LAST_DIR).trials.values()
    assert part.state == "running"
    assert 3 <= part.epochs < plan.most_epochs
    assert last_training.train_last(config, study, clock, objective)
    study.close()
    (whole,) = Journal.read(study.directory / LAST_DIR).trials.values()
    assert whole.state == "completed"
    assert [row["epoch"] for row in whole.history] == list(range(1, plan.most_epochs + 1))
    seconds = [1.0] * part.epochs + [2.0] * (plan.most_epochs - part.epochs)
    assert [row["seconds"] for row in whole.history] == seconds
