import math
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inat.config.objective import OBJECTIVES
from inat.errors import ConfigError, SearchError
from inat.finalize.candidates import (
    Candidate,
    allowance,
    best_epoch,
    collect_candidates,
    lead,
    median_run,
    rank_candidates,
    run_params,
    top_configurations,
)
from inat.finalize.options import FinalizeCommand
from inat.study.cheaper import CostRule
from inat.study.study import Study
from inat.study.trial import Trial
from tests.helpers import run_epochs


def run(accuracy: float, seed: int) -> Trial:
    history = [{"epoch": 1, "best_val_acc": accuracy}]
    return Trial(f"t{seed:04d}", seed, {"x": 1, "seed": seed}, "", state="completed", history=history)


def candidate(name: str, *accuracies: float, seeds: int | None = None) -> Candidate:
    runs = tuple(run(accuracy, seed) for seed, accuracy in enumerate(accuracies, start=1))
    return Candidate(Trial(name, 0, {"x": name}, ""), runs, seeds or len(runs))


@pytest.fixture
def study(tmp_path) -> Study:
    return Study.create(tmp_path / "study", {"config": {}})


def add(study: Study, params: dict, accuracies: list[float], state: str = "completed") -> str:
    trial_id = study.add_trial(params).trial_id
    run_epochs(study, trial_id, accuracies)
    if state != "running":
        study.end_trial(trial_id, state)
    return trial_id


def test_the_best_different_configurations_are_chosen_however_their_trials_ended(study):
    add(study, {"x": 1}, [0.5])
    best, again, stopped = (
        add(study, {"x": 2}, [0.9]),
        add(study, {"x": 2}, [0.8]),
        add(study, {"x": 3}, [0.7], "stopped"),
    )
    add(study, {"x": 4}, [0.99], "failed")
    add(study, {"x": 5}, [0.98], "running")
    chosen = [trial.trial_id for trial in top_configurations(study, 2)]
    assert chosen == [best, stopped]
    assert again not in chosen


def test_the_default_number_of_configurations_gives_way_to_a_small_study(study):
    only = add(study, {"x": 1}, [0.5])
    default = FinalizeCommand(study=study.directory).top
    assert [trial.trial_id for trial in top_configurations(study, default)] == [only]


def test_settings_without_effect_do_not_make_a_different_configuration(study):
    frozen = {"backbone": "resnet50", "strategy": "freeze_all"}
    add(study, frozen | {"k_layers": 1}, [0.9])
    add(study, frozen | {"k_layers": 2}, [0.8])
    with pytest.raises(ConfigError, match="--top 2 is more than the 1 different configurations .* --top 1 or less"):
        top_configurations(study, 2)


def test_a_study_without_a_result_names_the_next_step(study):
    add(study, {"x": 1}, [0.5], "failed")
    with pytest.raises(SearchError, match="no trial of .* has a result; continue the search .--resume"):
        top_configurations(study, 1)


def test_each_candidate_gets_its_own_runs(study, tmp_path):
    """Not the runs of another candidate, nor runs that failed before a retry."""
    trials = [study.trials[add(study, {"x": x}, [0.5 + x / 10])] for x in (1, 2)]
    runs = Study.create(tmp_path / "runs", {"config": {}})
    for trial in trials:
        for seed in (1, 2):
            add(runs, run_params(trial, seed), [0.9], "failed")
            add(runs, run_params(trial, seed), [trial.params["x"] / 10 + seed / 100])
    first, second = collect_candidates(runs, trials, 2)
    assert first.scores == pytest.approx([0.11, 0.12])
    assert second.scores == pytest.approx([0.21, 0.22])
    assert collect_candidates(runs, trials, 3)[0].complete is False


def test_the_mean_wins_and_ties_are_broken_by_spread_then_by_the_search():
    lucky, steady = candidate("lucky", 0.9, 0.5), candidate("steady", 0.72, 0.70)
    assert rank_candidates([lucky, steady])[0] is steady
    same, narrow = candidate("wide", 0.6, 0.8), candidate("narrow", 0.69, 0.71)
    assert rank_candidates([same, narrow])[0] is narrow
    first, second = candidate("first", 0.1, 0.2, 0.3), candidate("second", 0.3, 0.1, 0.2)
    assert [c.trial.trial_id for c in rank_candidates([first, second])] == ["first", "second"]


def test_a_candidate_that_failed_with_some_seed_cannot_win():
    partial, whole = candidate("partial", 0.9, seeds=2), candidate("whole", 0.5, 0.5)
    nothing = candidate("nothing", seeds=2)
    assert [c.trial.trial_id for c in rank_candidates([nothing, partial, whole])] == ["whole", "partial", "nothing"]


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=9))
def test_the_model_comes_from_the_median_run(thousandths):
    accuracies = [value / 1000 for value in thousandths]
    chosen = median_run(candidate("x", *accuracies)).best_value
    assert sum(value < chosen for value in accuracies) <= (len(accuracies) - 1) / 2
    assert sum(value > chosen for value in accuracies) <= len(accuracies) / 2


def test_equal_medians_go_to_the_lower_seed():
    assert median_run(candidate("x", 0.5, 0.5)).params["seed"] == 1
    assert median_run(candidate("x", 0.9, 0.5, 0.5, 0.1)).params["seed"] == 2


def test_the_kept_epoch_is_the_first_best_epoch(study):
    trial = study.trials[add(study, {"x": 1}, [0.3, 0.5, 0.5, 0.5])]
    assert best_epoch(trial) == 2


def test_the_lead_has_an_interval_if_the_scores_vary():
    difference, low, high = lead(candidate("a", 0.9, 0.92, 0.91), candidate("b", 0.8, 0.79, 0.81))
    assert difference == pytest.approx(0.11)
    assert 0 < low < difference < high
    assert lead(candidate("a", 0.9), candidate("b", 0.8)) is None
    assert lead(candidate("a", 0.9, 0.9), candidate("b", 0.8, 0.8)) is None


def test_the_deviation_of_one_run_is_unknown():
    assert candidate("x", 0.5).sd is None
    assert candidate("x", 0.4, 0.6).sd == pytest.approx(math.sqrt(0.02))


def losing(name: str, *losses: float) -> Candidate:
    """A candidate of a study that minimises the loss."""
    runs = tuple(
        Trial(f"t{seed:04d}", seed, {"x": 1, "seed": seed}, "", state="completed",
              history=[{"epoch": 1, "best_val_loss": loss}], objective=OBJECTIVES["val_loss"])
        for seed, loss in enumerate(losses, start=1)
    )  # fmt: skip
    return Candidate(Trial(name, 0, {"x": name}, "", objective=OBJECTIVES["val_loss"]), runs, len(runs))


def test_equal_scores_of_one_candidate_print_no_warning_of_a_library():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        difference, low, high = lead(candidate("a", 0.9, 0.9, 0.9), candidate("b", 0.8, 0.79, 0.81))
    assert low < difference < high


def test_the_lowest_mean_loss_wins_and_leads_by_a_positive_difference():
    low, high = losing("low", 0.1, 0.3), losing("high", 0.6, 0.4)
    assert rank_candidates([high, low]) == [low, high]
    difference, left, right = lead(low, high)
    assert difference == pytest.approx(0.3)
    assert left < difference < right
    # The worse one of the two middle runs.
    assert median_run(low).best_value == 0.3


PERMILLE = st.integers(0, 1000).map(lambda number: number / 1000)


@given(st.lists(PERMILLE, min_size=2, max_size=5), st.lists(PERMILLE, min_size=2, max_size=5))
def test_losses_are_judged_as_their_mirror_images(one, two):
    mirrored = lead(candidate("a", *(1 - x for x in one)), candidate("b", *(1 - x for x in two)))
    found = lead(losing("a", *one), losing("b", *two))
    assert (found is None) == (mirrored is None)
    if found is not None:
        assert found == pytest.approx(mirrored, abs=1e-6, nan_ok=True)


def costing(name: str, parameters: int, *accuracies: float) -> Candidate:
    made = candidate(name, *accuracies)
    made.trial.history.append({"epoch": 1, "best_val_acc": accuracies[0], "trainable_parameters": parameters})
    return made


def test_the_cheapest_within_a_standard_error_of_the_best_mean_wins_if_that_is_preferred():
    best, near, far = costing("best", 9, 0.7, 0.9), costing("near", 3, 0.72, 0.7), costing("far", 1, 0.69, 0.69)
    assert ids(rank_candidates([best, near, far])) == ["best", "near", "far"]
    noise = CostRule(preference="noise")  # the standard error of 0.7 and 0.9 is 0.1
    assert allowance(best, noise) == pytest.approx(0.1)
    assert ids(rank_candidates([best, near, far], noise)) == ["near", "best", "far"]
    assert ids(rank_candidates([best, near, far], CostRule(preference=0.2))) == ["far", "best", "near"]


def test_the_trial_that_the_search_preferred_is_a_candidate(tmp_path):
    study = Study.create(tmp_path / "costs", {"config": {"prefer_cheaper": 0.5}})
    for number, value in enumerate((0.9, 0.8, 0.7, 0.6), start=1):
        trial_id = study.add_trial({"x": value}).trial_id
        run_epochs(study, trial_id, [value], trainable_parameters=100 // number)
        study.end_trial(trial_id, "completed")
    assert [trial.trial_id for trial in top_configurations(study, 2)] == ["t0000", "t0001", "t0003"]


def ids(candidates: list[Candidate]) -> list[str]:
    return [one.trial.trial_id for one in candidates]
