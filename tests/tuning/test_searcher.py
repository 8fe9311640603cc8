import math

import optuna
import pytest
from ray import tune

from inat.results import Study
from inat.tuning.searcher import StudySearch
from tests.tuning.conftest import run_epochs

SPACE = {"x": tune.uniform(0.0, 1.0), "kind": tune.choice(["a", "b", "c"]), "on": tune.choice([True, False])}


def searcher(study: Study, seed: int = 0) -> StudySearch:
    return StudySearch(study, SPACE, seed, keep_checkpoints=2)


def value_of(params: dict) -> float:
    return 1 - (params["x"] - 0.3) ** 2 - 0.1 * (params["kind"] != "b")


def finish(search: StudySearch, study: Study, suggestion: dict) -> None:
    """Report and complete one suggestion as Tune and the recorder do: the searcher hears first."""
    trial_id = suggestion["trial_id"]
    result = {"epoch": 1, "best_val_acc": value_of(suggestion)}
    search.on_trial_result(trial_id, result)
    study.add_epoch(trial_id, result)
    search.on_trial_complete(trial_id, result)
    study.end_trial(trial_id, "completed")


def ask(search: StudySearch) -> dict:
    return search.suggest(search.next_trial_id())


def test_ids_are_the_studys_and_every_suggestion_is_in_the_journal(study):
    search = searcher(study)
    first, second = ask(search), ask(search)
    assert (first["trial_id"], second["trial_id"]) == ("t0000", "t0001")
    assert study.trials["t0001"].params == {name: second[name] for name in SPACE}
    assert first["seed"] != second["seed"]


@pytest.mark.parametrize("cut", [3, 12, 25])
def test_a_resumed_search_asks_what_the_uninterrupted_one_would(tmp_path, cut):
    def two_at_a_time(search: StudySearch, study: Study, live: list[dict], until: int) -> list[dict]:
        while len(study.trials) < until:
            while len(live) < 2:
                live.append(ask(search))
            finish(search, study, live.pop(0))
        return live

    whole = Study.create(tmp_path / "whole", {"config": {}})
    two_at_a_time(searcher(whole), whole, [], 30)

    part = Study.create(tmp_path / "part", {"config": {}})
    two_at_a_time(searcher(part), part, [], cut)
    part.close()
    part = Study.open(part.directory)
    search = searcher(part)
    assert search.waiting == 1
    handed_out_again = ask(search)
    assert handed_out_again["trial_id"] == part.unfinished()[0].trial_id
    two_at_a_time(search, part, [handed_out_again], 30)
    assert [t.params for t in part.trials.values()] == [t.params for t in whole.trials.values()]


def test_seeds_matter(tmp_path):
    def draws(seed: int) -> list[float]:
        search = searcher(Study.create(tmp_path / str(seed), {"config": {}}), seed)
        return [ask(search)["x"] for _ in range(8)]

    # Neighbouring seeds share nothing, not even shifted by a trial.
    assert not set(draws(0)) & set(draws(1))
    assert len(set(draws(5_000_000_000))) == 8


def test_learns_where_the_good_values_are(study):
    search = searcher(study)
    for _ in range(60):
        finish(search, study, ask(search))
    late = list(study.trials.values())[40:]
    assert sum(abs(t.params["x"] - 0.3) for t in late) / len(late) < 0.2
    assert sum(t.params["kind"] == "b" for t in late) > len(late) / 2


def test_failed_trials_are_told_as_failed_and_do_not_disturb(study):
    search = searcher(study)
    suggestion = ask(search)
    search.on_trial_complete(suggestion["trial_id"], None, error=True)
    assert [t.state for t in search._ot_study.get_trials()] == [optuna.trial.TrialState.FAIL]
    study.end_trial(suggestion["trial_id"], "failed", "boom")
    finish(search, study, ask(search))
    study.close()
    again = searcher(Study.open(study.directory))
    states = [t.state.name for t in again._ot_study.get_trials()]
    assert states == ["FAIL", "COMPLETE"]


def test_repeated_reports_of_a_trial_set_back_are_ignored(study, recwarn):
    search = searcher(study)
    trial_id = ask(search)["trial_id"]
    for epoch in (1, 2, 1, 2, 3):
        result = {"epoch": epoch, "best_val_acc": epoch / 10}
        search.on_trial_result(trial_id, result)
        study.add_epoch(trial_id, result)
    assert not [w for w in recwarn if "already reported" in str(w.message)]
    search.on_trial_complete(trial_id, {"epoch": 3, "best_val_acc": 0.3})
    told = search._ot_study.get_trials()[0]
    assert told.intermediate_values == {1: 0.1, 2: 0.2, 3: 0.3}
    assert math.isclose(told.value, 0.3)


def test_a_new_trial_must_beat_the_kept_ones_to_write_its_weights(study):
    search = searcher(study)
    assert ask(search)["threshold"] is None
    for value in (0.3, 0.6, 0.5):
        trial = study.add_trial({"x": 0.1, "kind": "a", "on": True})
        run_epochs(study, trial.trial_id, [value])
        study.end_trial(trial.trial_id, "completed")
    assert ask(searcher_of_finished(study))["threshold"] == 0.5


def searcher_of_finished(study: Study) -> StudySearch:
    for trial in study.unfinished():
        study.end_trial(trial.trial_id, "failed")
    return searcher(study)
