import math

import pytest
from optuna.trial import TrialState
from ray import tune

from inat.errors import StudyError
from inat.study.study import Study
from inat.study.trial import Trial
from inat.tuning.equal_cost import EqualCost
from inat.tuning.rungs import Rungs
from inat.tuning.sampling.options import SearcherOptions
from inat.tuning.sampling.samplers import make_sampler
from inat.tuning.sampling.searcher import BudgetAwareOptunaSearch
from tests.helpers import run_epochs

SPACE = {"x": tune.uniform(0.0, 1.0), "kind": tune.choice(["a", "b", "c"]), "on": tune.choice([True, False])}


def searcher(study: Study, seed: int = 0, **options) -> BudgetAwareOptunaSearch:
    rungs = Rungs(grace=1, factor=3, max_epochs=9)
    return BudgetAwareOptunaSearch(study, SPACE, SearcherOptions(rungs=rungs, seed=seed, keep_checkpoints=2, **options))


def value_of(params: dict) -> float:
    return 1 - (params["x"] - 0.3) ** 2 - 0.1 * (params["kind"] != "b")


def finish(search: BudgetAwareOptunaSearch, study: Study, suggestion: dict, state: str = "completed") -> None:
    """Report epochs and the end of a suggestion in the order in which Tune and the study recorder do it."""
    trial_id = suggestion["trial_id"]
    for epoch in (1, 2, 3) if state == "completed" else (1,):
        result = {"epoch": epoch, "best_val_acc": value_of(suggestion) * (1 - 0.1 / epoch)}
        study.add_epoch(trial_id, result)
        search.on_trial_update(study.trials[trial_id])
    search.on_trial_complete(trial_id, result)  # Tune calls the searcher before the study recorder
    end(search, study, trial_id, state)


def end(search: BudgetAwareOptunaSearch, study: Study, trial_id: str, state: str, error: str = "") -> None:
    study.end_trial(trial_id, state, error)
    search.on_trial_update(study.trials[trial_id])


def ask(search: BudgetAwareOptunaSearch) -> dict:
    return search.suggest(search.next_trial_id())


def test_suggestions_have_the_ids_of_the_study_and_are_in_the_journal(study):
    search = searcher(study)
    first, second = ask(search), ask(search)
    assert (first["trial_id"], second["trial_id"]) == ("t0000", "t0001")
    assert study.trials["t0001"].params == {name: second[name] for name in SPACE}
    assert first["seed"] != second["seed"]


@pytest.mark.parametrize("cut", [3, 12, 25])
@pytest.mark.parametrize("stopped", ["chain", "extrapolate", "last", "pruned"])
def test_a_resumed_search_suggests_what_the_uninterrupted_search_would(tmp_path, cut, stopped):
    def two_at_a_time(search: BudgetAwareOptunaSearch, study: Study, live: list[dict], until: int) -> list[dict]:
        while len(study.trials) < until:
            while len(live) < 2:
                live.append(ask(search))
            suggestion = live.pop(0)
            finish(search, study, suggestion, "completed" if value_of(suggestion) > 0.8 else "stopped")
        return live

    whole = Study.create(tmp_path / "whole", {"config": {}})
    two_at_a_time(searcher(whole, stopped=stopped), whole, [], 30)

    part = Study.create(tmp_path / "part", {"config": {}})
    two_at_a_time(searcher(part, stopped=stopped), part, [], cut)
    part.close()
    part = Study.open(part.directory)
    search = searcher(part, stopped=stopped)
    assert search.num_unfinished == 1
    repeated = ask(search)
    assert repeated["trial_id"] == part.unfinished()[0].trial_id
    two_at_a_time(search, part, [repeated], 30)
    assert [t.params for t in part.trials.values()] == [t.params for t in whole.trials.values()]


def test_running_trials_beyond_a_rung_teach_the_sampler_also_after_a_resume(tmp_path):
    def report(search: BudgetAwareOptunaSearch, study: Study, suggestion: dict, epoch: int) -> None:
        study.add_epoch(suggestion["trial_id"], {"epoch": epoch, "best_val_acc": value_of(suggestion)})
        search.on_trial_update(study.trials[suggestion["trial_id"]])

    def begin(directory: str, **options) -> tuple[BudgetAwareOptunaSearch, Study]:
        study = Study.create(tmp_path / directory, {"config": {}})
        search = searcher(study, **options)
        for number in range(16):
            suggestion = ask(search)
            report(search, study, suggestion, 1)
            if number < 14:  # the last two go on
                end(search, study, suggestion["trial_id"], "stopped")
        return search, study

    whole, _ = begin("whole", stopped="chain")
    wanted = ask(whole)
    _, study = begin("part", stopped="chain")
    study.close()
    study = Study.open(study.directory)
    resumed = searcher(study, stopped="chain")
    running = [ask(resumed) for _ in range(2)]
    assert [each["trial_id"] for each in running] == ["t0014", "t0015"]
    assert {name: ask(resumed)[name] for name in SPACE} == {name: wanted[name] for name in SPACE}
    states = [t.state.name for t in resumed.optuna_study.get_trials(deepcopy=False, states=list(TrialState))]
    assert states[14:16] == ["COMPLETE", "COMPLETE"]
    without, _ = begin("last", stopped="last")
    assert ask(without)["x"] != wanted["x"]  # until they end, others take them for bad ones


def test_the_sampler_can_check_what_has_been_tried(study, monkeypatch):
    checks = []

    def make(name, seed, space, was_tried, candidates):
        checks.append(was_tried)
        return make_sampler(name, seed, space, was_tried, candidates)

    monkeypatch.setattr("inat.tuning.sampling.searcher.make_sampler", make)
    search = searcher(study)
    first = ask(search)
    ask(search)
    assert checks[-1]({name: first[name] for name in SPACE})
    assert not checks[-1]({name: first[name] for name in SPACE} | {"x": -1.0})


@pytest.mark.parametrize(
    ("space", "metric", "options", "sampler"),
    [
        ({"x": tune.uniform(0.0, 1.0)}, "accuracy", {}, "gp"),
        ({"x": tune.uniform(0.0, 1.0)}, "accuracy", {"sampler": "tpe"}, "tpe"),
        ({"x": tune.uniform(0.0, 1.0)}, "accuracy", {"earlier": [{"params": {"x": 0.5}, "rank": 0.0}]}, "tpe"),
        ({"x": tune.uniform(0.0, 1.0)}, "val_loss", {}, "tpe"),
        (SPACE, "accuracy", {}, "tpe"),
        (SPACE, "accuracy", {"sampler": "gp"}, "gp"),
    ],
)
def test_the_sampler_fits_the_space_the_metric_and_what_was_learned_before(
    tmp_path, monkeypatch, space, metric, options, sampler
):
    made = []

    def make(name, *choice):
        made.append(name)
        return make_sampler(name, *choice)

    monkeypatch.setattr("inat.tuning.sampling.searcher.make_sampler", make)
    monkeypatch.setattr("inat.tuning.sampling.searcher.prior_of", lambda *_: None)
    study = Study.create(tmp_path / "s", {"config": {"metric": metric}})
    rungs = Rungs(grace=1, factor=3, max_epochs=9)
    ask(BudgetAwareOptunaSearch(study, space, SearcherOptions(rungs=rungs, **options)))
    assert made == [sampler]


def test_a_gaussian_process_finds_the_maximum_and_goes_on_alike(tmp_path):
    def run(study: Study, trials: int) -> list[float]:
        rungs = Rungs(grace=1, factor=3, max_epochs=9)
        search = BudgetAwareOptunaSearch(study, {"x": tune.uniform(0.0, 1.0)}, SearcherOptions(rungs=rungs, seed=1))
        for _ in range(trials):
            finish(search, study, ask(search) | {"kind": "b"})
        return [trial.params["x"] for trial in study.trials.values()]

    whole, part = (Study.create(tmp_path / name, {"config": {}}) for name in ("whole", "part"))
    found = run(whole, 15)
    assert min(abs(x - 0.3) for x in found[10:]) < 0.01
    run(part, 12)
    part.close()
    assert run(Study.open(part.directory), 3) == pytest.approx(found, abs=1e-6)


def test_each_seed_gives_other_suggestions(tmp_path):
    def draws(seed: int) -> list[float]:
        search = searcher(Study.create(tmp_path / str(seed), {"config": {}}), seed)
        return [ask(search)["x"] for _ in range(8)]

    # The suggestions of neighbouring seeds have nothing in common, not even shifted by one trial.
    assert not set(draws(0)) & set(draws(1))
    assert len(set(draws(5_000_000_000))) == 8


def test_later_suggestions_are_close_to_the_best_values(study):
    search = searcher(study)
    for _ in range(60):
        finish(search, study, ask(search))
    late = list(study.trials.values())[40:]
    assert sum(abs(t.params["x"] - 0.3) for t in late) / len(late) < 0.2
    assert sum(t.params["kind"] == "b" for t in late) > len(late) / 2


@pytest.mark.parametrize(
    ("error", "state", "value"), [("ValueError: boom", "FAIL", None), ("CUDA out of memory", "COMPLETE", 0.0)]
)
def test_failed_trials_reach_optuna_and_the_search_goes_on(study, error, state, value):
    search = searcher(study)
    trial_id = ask(search)["trial_id"]
    search.on_trial_complete(trial_id, None, error=True)
    end(search, study, trial_id, "failed", error)
    finish(search, study, ask(search))
    study.close()
    again = searcher(Study.open(study.directory))
    for each in (search, again):
        first, second = each.optuna_study.get_trials()
        assert (first.state.name, first.value, second.state.name) == (state, value, "COMPLETE")


def test_updates_of_unknown_trials_and_repeated_updates_are_ignored(study):
    search = searcher(study)
    suggestion = ask(search)
    search.on_trial_result("t0099", {"epoch": 1, "best_val_acc": 0.5})
    search.on_trial_complete("t0099", {"epoch": 1, "best_val_acc": 0.5})
    search.on_trial_update(Trial("t0099", 99, {}, ""))
    finish(search, study, suggestion)
    search.on_trial_update(study.trials["t0000"])
    search.on_trial_result("t0000", {"epoch": 9, "best_val_acc": 0.9})
    assert [t.state.name for t in search.optuna_study.get_trials()] == ["COMPLETE"]


def test_a_trial_without_a_finite_accuracy_is_not_left_running(study):
    search = searcher(study)
    trial_id = ask(search)["trial_id"]
    study.add_epoch(trial_id, {"epoch": 1, "best_val_acc": float("nan")})
    search.on_trial_update(study.trials[trial_id])
    end(search, study, trial_id, "completed")
    (found,) = search.optuna_study.get_trials()
    assert (found.state.name, found.value, found.intermediate_values) == ("COMPLETE", 0.0, {})
    assert study.best() is None


def test_optuna_stores_raw_accuracy_epochs_rung_and_state(study):
    search = searcher(study, stopped="extrapolate")
    for state in ("completed", "stopped"):
        finish(search, study, ask(search), state)
    completed, stopped = search.optuna_study.get_trials()
    raw = study.trials["t0001"].best_value
    assert stopped.user_attrs == {
        "trial_id": "t0001", "state": "stopped", "best_val_acc": raw, "epochs": 1, "rung": 1
    }  # fmt: skip
    assert completed.user_attrs["rung"] == 2
    gain = completed.value - completed.intermediate_values[1]
    assert gain > 0
    assert stopped.value == pytest.approx(min(1.0, raw + gain))
    assert search.to_frozen_trial(study.trials["t0001"]).value == stopped.value


@pytest.mark.parametrize("sampler", ["tpe", "gp", "random"])
def test_every_sampler_suggests_different_values(study, sampler):
    search = searcher(study, sampler=sampler)
    for _ in range(14):
        finish(search, study, ask(search))
    assert len({t.params["x"] for t in study.trials.values()}) == 14


def test_start_from_configurations_come_first_and_only_once(study):
    wanted = [{"x": 0.25, "kind": "c", "on": True}, {"x": 0.75}]
    search = searcher(study, start_from=wanted)
    first, second, third = (ask(search) for _ in range(3))
    assert {name: first[name] for name in SPACE} == wanted[0]
    assert second["x"] == 0.75
    assert second["kind"] in "abc"
    assert third["x"] not in (0.25, 0.75)
    study.close()
    again = searcher(Study.open(study.directory), start_from=wanted)
    assert [ask(again)["x"] for _ in range(3)] == [0.25, 0.75, third["x"]]
    assert ask(again)["x"] not in (0.25, 0.75)


@pytest.mark.parametrize("affordable", [None, lambda params: True])
def test_a_partial_configuration_is_not_completed_to_one_that_has_been_tried(tmp_path, affordable):
    whole = {"x": 0.25, "kind": "c", "on": True}
    for seed in range(12):  # every third first draw would repeat the first trial
        opened = Study.create(tmp_path / str(seed), {"config": {}})
        search = searcher(opened, seed=seed, start_from=[whole, {"x": 0.25, "on": True}], affordable=affordable)
        ask(search), ask(search)
        first, second = (trial.params for trial in opened.trials.values())
        assert first == whole != second
        opened.close()


def test_epochs_that_a_trial_repeats_from_a_checkpoint_are_reported_once(study, recwarn):
    search = searcher(study)
    trial_id = ask(search)["trial_id"]
    for epoch in (1, 2, 1, 2, 3):
        study.add_epoch(trial_id, {"epoch": epoch, "best_val_acc": epoch / 10})
        search.on_trial_update(study.trials[trial_id])
    assert not [w for w in recwarn if "already reported" in str(w.message)]
    end(search, study, trial_id, "completed")
    found = search.optuna_study.get_trials()[0]
    assert found.intermediate_values == {1: 0.1, 2: 0.2, 3: 0.3}
    assert math.isclose(found.value, 0.3)


def test_optuna_gets_the_last_epoch_with_the_end_of_a_stopped_trial(study):
    search = searcher(study, stopped="pruned")
    trial_id = ask(search)["trial_id"]
    study.add_epoch(trial_id, {"epoch": 1, "best_val_acc": 0.4})
    end(search, study, trial_id, "stopped")  # no update came for the epoch alone
    live = search.optuna_study.get_trials()[0]
    assert (live.state.name, live.value, live.intermediate_values) == ("PRUNED", 0.4, {1: 0.4})
    study.close()
    again = searcher(Study.open(study.directory), stopped="pruned").optuna_study.get_trials()[0]
    assert (again.state, again.value, again.intermediate_values) == (live.state, live.value, live.intermediate_values)


def test_the_threshold_is_the_worst_accuracy_among_the_kept_checkpoints(study):
    search = searcher(study)
    assert ask(search)["threshold"] is None
    for value in (0.3, 0.6, 0.5):
        trial = study.add_trial({"x": 0.1, "kind": "a", "on": True})
        run_epochs(study, trial.trial_id, [value])
        study.end_trial(trial.trial_id, "completed")
    assert ask(searcher_of_finished(study))["threshold"] == 0.5


def searcher_of_finished(study: Study) -> BudgetAwareOptunaSearch:
    for trial in study.unfinished():
        study.end_trial(trial.trial_id, "failed")
    return searcher(study)


CHOICES = {"kind": tune.choice(["a", "b", "c"]), "size": tune.choice([1, 2, 3, 4])}


def test_no_configuration_is_tried_twice_until_all_have_been_tried(study):
    rungs = Rungs(grace=1, factor=3, max_epochs=9)
    search = BudgetAwareOptunaSearch(study, CHOICES, SearcherOptions(rungs=rungs, keep_checkpoints=2))
    asked = []
    for _ in range(14):
        suggestion = ask(search)
        asked.append((suggestion["kind"], suggestion["size"]))
        study.add_epoch(suggestion["trial_id"], {"epoch": 1, "best_val_acc": 0.2 * suggestion["size"]})
        end(search, study, suggestion["trial_id"], "completed")
    assert len(set(asked[:12])) == 12
    assert set(asked[12:]) <= set(asked[:12])


def test_an_unfinished_trial_has_no_other_names_than_the_space(study):
    first = ask(searcher(study))
    assert ask(searcher(study)) == first
    study.add_trial({"x": 0.5, "kind": "a", "on": True, "model_file": "/elsewhere/net.py"})
    with pytest.raises(StudyError, match=r"t0001 of .* does not fit the search space \('model_file'\); restore"):
        searcher(study)


def test_a_journal_with_hyperparameters_outside_of_the_space_is_one_sentence(tmp_path):
    study = Study.create(tmp_path / "study", {"config": {}})
    trial = study.add_trial({"x": None})
    study.end_trial(trial.trial_id, "completed")
    with pytest.raises(StudyError, match="t0000 of .* does not fit the search space"):
        BudgetAwareOptunaSearch(study, {"x": tune.uniform(0, 1)}, SearcherOptions(rungs=Rungs(1, 3, 9), seed=0))
    study.close()


RACE_SPACE = {
    "backbone": tune.choice(["a", "b"]), "strategy": tune.choice(["freeze_all", "unfreeze_all"]),
    "x": tune.uniform(0.0, 1.0),
}  # fmt: skip
RACE = {
    "waves": {"partial": [{"backbone": n, "strategy": "freeze_all"} for n in "ab"], "whole": ["a", "b"], "full": 1},
}  # fmt: skip


def race_until(study: Study, until: int) -> list[dict]:
    options = SearcherOptions(rungs=Rungs(grace=1, factor=3, max_epochs=9), race=RACE)
    search = BudgetAwareOptunaSearch(study, RACE_SPACE, options)
    while len(study.trials) < until:
        suggestion = ask(search)
        study.add_epoch(
            suggestion["trial_id"], {"epoch": 1, "best_val_acc": 0.5 + 0.3 * (suggestion["backbone"] == "b")}
        )
        end(search, study, suggestion["trial_id"], "completed")
    return [trial.params for trial in study.trials.values()]


def test_a_race_tries_its_waves_and_then_draws_for_the_best_backbone(study):
    params = race_until(study, 8)
    assert [(p["backbone"], p["strategy"]) for p in params[:3]] == [
        ("a", "freeze_all"), ("b", "freeze_all"), ("b", "unfreeze_all"),
    ]  # fmt: skip
    assert {p["x"] for p in params[:3]} == {0.5}
    assert {p["backbone"] for p in params[3:]} == {"b"}
    assert len({p["x"] for p in params[3:]}) == 5  # drawn by the sampler


@pytest.mark.parametrize("cut", [1, 2, 3, 5])
def test_a_resumed_race_tries_what_the_uninterrupted_one_would(tmp_path, cut):
    whole = race_until(Study.create(tmp_path / "whole", {"config": {}}), 8)
    part = Study.create(tmp_path / "part", {"config": {}})
    race_until(part, cut)
    part.close()
    assert race_until(Study.open(part.directory), 8) == whole


def test_suggestions_that_would_not_end_in_time_are_not_tried(study):
    search = searcher(study, affordable=lambda params: params["x"] > 0.5, start_from=[{"x": 0.1}])
    assert ask(search)["x"] == 0.1  # the first trial is started in any case
    for _ in range(5):
        assert ask(search)["x"] > 0.5
    assert not search.declined


def test_a_suggestion_that_has_been_tried_is_not_too_long(study, monkeypatch):
    monkeypatch.setattr("inat.tuning.sampling.searcher.MAX_TOO_LONG", 1)
    search = searcher(study, affordable=lambda params: True)
    ask(search)
    answers = [True, True, False]
    monkeypatch.setattr(search, "_was_tried", lambda params: answers.pop(0) if answers else False)
    assert ask(search) is not None
    assert not search.declined
    monkeypatch.setattr(search, "_was_tried", lambda params: True)
    assert ask(search) is not None  # every configuration has been tried


def test_without_an_affordable_suggestion_only_unfinished_trials_go_on(study):
    affordable = True
    search = searcher(study, affordable=lambda params: affordable)
    first, _ = ask(search), ask(search)
    affordable = False
    assert ask(search) is None
    assert search.declined
    assert len(study.trials) == 2
    search.requeue(first["trial_id"])
    assert ask(search)["trial_id"] == first["trial_id"]
    affordable = True
    assert ask(search) is None  # time only runs out


def costs(epochs: int = 9) -> EqualCost:
    """An epoch costs 20 times x."""
    return EqualCost(Rungs(grace=1, factor=3, max_epochs=epochs), lambda params: round(2000 * params["x"]), 100, 1 / 3)


def test_a_trial_trains_for_epochs_of_equal_cost_also_after_a_resume(study):
    options = {"equal_cost": costs(), "affordable": lambda params: True, "start_from": [{"x": 0.025}]}
    search = searcher(study, **options)
    first = ask(search)
    assert first["length"] == {"max_epochs": 18, "patience": 18, "rungs": [2, 6]}
    others = [ask(search) for _ in range(5)]
    written = [study.trials[other["trial_id"]].epoch_cost for other in others]
    assert written == [max(0.333, round(round(2000 * other["x"]) / 100, 3)) for other in others]
    assert all(other["length"]["max_epochs"] >= 5 for other in others)  # networks with fewer epochs are not tried
    directory = study.directory
    study.close()
    reopened = Study.open(directory)
    assert {**ask(searcher(reopened, **options)), "threshold": None} == {**first, "threshold": None}
    reopened.close()


def test_a_search_ends_if_no_network_has_enough_epochs(study):
    large = EqualCost(Rungs(grace=1, factor=3, max_epochs=9), lambda params: 300, 100, 1 / 3)
    search = searcher(study, equal_cost=large, affordable=lambda params: True)
    assert (
        ask(search)["length"]["max_epochs"] == 3
    )  # whatever the first one costs: it is the recipe, or what the user wants
    assert ask(search) is None
    assert search.declined
