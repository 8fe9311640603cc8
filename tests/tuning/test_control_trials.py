"""Control trials in a whole search without Ray: searcher, ASHA, lifecycle and study together, one trial at a time."""

import csv
from pathlib import Path

import pytest
from ray import tune

from inat.study.study import Study
from inat.tuning.lifecycle import TrialLifecycle
from inat.tuning.ray_backend.asha import asha_for
from inat.tuning.rungs import Rungs
from inat.tuning.sampling.control import is_control
from inat.tuning.sampling.options import SearcherOptions
from inat.tuning.sampling.searcher import BudgetAwareOptunaSearch

ASHA = {"max_epochs": 9, "grace_period": 1, "reduction_factor": 3}
SPACE = {"x": tune.uniform(0.0, 1.0), "kind": tune.choice(["a", "b"])}
CONTROLS = 0.3


def value_of(params: dict, epoch: int) -> float:
    """Some trials begin slowly and end well."""
    return (1 - (params["x"] - 0.7) ** 2) * (1 - (0.2 + params["x"]) / epoch)


class Search:
    """Runs trials to their ends, or until the driver is killed in the epoch ``cut``, counted over all trials."""

    def __init__(self, study: Study, fraction: float) -> None:
        self.study = study
        self.asha = asha_for(study, **ASHA)
        self.searcher = BudgetAwareOptunaSearch(
            study, SPACE, SearcherOptions(rungs=Rungs(1, 3, 9), seed=1, control_fraction=fraction)
        )
        self.lifecycle = TrialLifecycle(study, self.asha, 2, [self.searcher.on_trial_update])

    def run(self, trials: int, cut: int = 10**6) -> None:
        while len(self.study.ended()) < trials:
            trial = self.study.trials[self.searcher.suggest(self.searcher.next_trial_id())["trial_id"]]
            self.asha.on_trial_add(None, trial)
            for epoch in range(trial.known_epochs + 1, 10):
                row = {"epoch": epoch, "best_val_acc": value_of(trial.params, epoch), "seconds": 1.0}
                last = {"finished": "max_epochs"} if epoch == 9 else {}
                if last:
                    self.asha.on_trial_complete(None, trial, row)
                stops = not last and self.asha.on_trial_result(None, trial, row) == "STOP"
                self.lifecycle.add_epochs(trial.trial_id, [row | last], "")
                if (cut := cut - 1) == 0:
                    return
                if stops:
                    break
            self.lifecycle.end(trial.trial_id)

    @property
    def rungs(self) -> list:
        return self.asha._brackets[0]._rungs

    @property
    def learned(self) -> list:
        return [(t.params, t.value, t.intermediate_values, t.user_attrs) for t in self.searcher.optuna_study.trials]


def search(directory: Path, fraction: float) -> Search:
    return Search(Study.create(directory, {"config": {}}), fraction)


@pytest.fixture(scope="module")
def without(tmp_path_factory):
    found = search(tmp_path_factory.mktemp("without") / "study", 0.0)
    found.run(30)
    return found


@pytest.fixture(scope="module")
def with_controls(tmp_path_factory):
    found = search(tmp_path_factory.mktemp("with") / "study", CONTROLS)
    found.run(30)
    return found


def test_controls_change_no_suggestion_no_rung_no_lesson_and_no_other_trial(without, with_controls):
    assert with_controls.rungs == without.rungs
    assert with_controls.learned == without.learned
    pairs = list(zip(with_controls.study.trials.values(), without.study.trials.values(), strict=True))
    controls = [number for number, (trial, _) in enumerate(pairs) if trial.control]
    assert controls == [number for number in range(30) if is_control(1, number, CONTROLS)]
    for trial, plain in pairs:
        assert trial.params == plain.params
        if not trial.control:
            assert (trial.state, trial.history) == (plain.state, plain.history)


def test_a_control_trains_to_its_end_and_the_study_says_where_asha_would_have_stopped_it(without, with_controls):
    with_controls.study.write_trials()
    rows = list(csv.DictReader((with_controls.study.directory / "trials.csv").open()))
    controls = [row for row in rows if row["control_trial"] == "1"]
    plain = without.study.trials
    assert {(row["state"], row["epochs"]) for row in controls} == {("completed", "9")}
    ends = {row["trial_id"]: row["asha_stop_epoch"] for row in controls}
    stopped = [trial for trial in ends if plain[trial].state == "stopped"]
    assert len(stopped) >= 3
    assert ends == {trial: str(plain[trial].epochs) if trial in stopped else "" for trial in ends}
    assert "control_trial" not in (without.study.directory / "trials.csv").read_text()


@pytest.mark.parametrize("ahead", [0, 1, 4])
def test_a_search_killed_around_the_stop_of_a_control_goes_on_as_if_nothing_had_happened(
    tmp_path, with_controls, ahead
):
    stopped = next(t for t in with_controls.study.trials.values() if t.stop_epoch)
    before = sum(t.epochs for t in with_controls.study.trials.values() if t.number < stopped.number)
    part = search(tmp_path / "part", CONTROLS)
    part.run(30, cut=before + stopped.stop_epoch + ahead)
    part.study.close()
    resumed = Search(Study.open(part.study.directory), CONTROLS)
    resumed.run(30)
    assert resumed.rungs == with_controls.rungs
    assert resumed.learned == with_controls.learned
    for trial, whole in zip(resumed.study.trials.values(), with_controls.study.trials.values(), strict=True):
        assert (trial.params, trial.state, trial.history) == (whole.params, whole.state, whole.history)


def test_another_attempt_of_a_failed_control_is_compared_anew(study):
    trial = study.add_trial({"x": 1}, control=True)
    study.add_epoch(trial.trial_id, {"epoch": 1, "best_val_acc": 0.1, "would_stop": 1})
    assert study.lesson_of(trial).state == "stopped"
    study.end_trial(trial.trial_id, "failed", "broke")
    study.retry_trial(trial.trial_id)
    assert (trial.stop_epoch, study.lesson_of(trial), trial.control) == (None, None, True)


@pytest.mark.parametrize("fraction", [0.05, 0.5])
def test_each_trial_is_a_control_with_the_asked_probability_and_the_seed_decides_which(fraction):
    chosen = [[is_control(seed, number, fraction) for number in range(4000)] for seed in (0, 1)]
    for numbers in chosen:
        assert abs(sum(numbers) / 4000 - fraction) < 4 * (fraction * (1 - fraction) / 4000) ** 0.5
    assert chosen[0] != chosen[1]
