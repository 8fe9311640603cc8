import pytest
from ray import tune
from ray.tune.experiment import Experiment

from inat.errors import StudyError
from inat.tuning.ray_backend.placement import UsableNodes
from inat.tuning.ray_backend.retries import RetryPolicy
from inat.tuning.ray_backend.trials import StudyTrials
from inat.tuning.rungs import Rungs
from inat.tuning.sampling.options import SearcherOptions
from inat.tuning.sampling.searcher import BudgetAwareOptunaSearch

SPACE = {"x": tune.uniform(0.0, 1.0)}


class Room:
    """How many trials fit at this moment."""

    count = 1

    def __call__(self) -> int:
        return self.count


@pytest.fixture
def room():
    return Room()


@pytest.fixture
def trials(study, room, tmp_path):
    """Three trials, of which one may run at a time."""
    search = BudgetAwareOptunaSearch(study, SPACE, SearcherOptions(rungs=Rungs(grace=1, factor=3, max_epochs=9)))
    made = StudyTrials(search, 3, room, UsableNodes({"CPU": 1.0}), RetryPolicy(max_failures=2), SPACE.keys())
    tune.register_trainable("no-trial", print)  # in this process, without Ray
    made.add_configurations([Experiment("any", "no-trial", config={"patience": 2}, storage_path=str(tmp_path))])
    return made


def test_trials_have_the_ids_of_the_study_the_settings_of_the_experiment_and_the_wanted_number(trials):
    made = []
    while not trials.is_finished():
        made.append(trials.next_trial())
        assert trials.next_trial() is None
        trials.on_trial_complete(made[-1].trial_id)
    assert [trial.trial_id for trial in made] == ["t0000", "t0001", "t0002"]
    assert all(trial.config["patience"] == 2 and 0 <= trial.config["x"] <= 1 for trial in made)
    assert [trial.custom_dirname for trial in made] == ["t0000", "t0001", "t0002"]
    assert {trial.max_failures for trial in made} == {2}
    assert trials.total_samples == 3


def test_more_trials_run_at_a_time_once_there_is_more_room(trials, room):
    room.count = 2
    assert trials.next_trial()
    assert trials.next_trial()
    assert trials.next_trial() is None


def test_one_trial_waits_for_a_node_where_none_fits(trials, room):
    room.count = 0
    assert trials.next_trial()
    assert trials.next_trial() is None


def test_tune_can_end_the_search_early(trials):
    trials.set_finished()
    assert trials.is_finished()
    assert trials.next_trial() is None


def test_a_search_that_has_nothing_more_to_try_is_finished_until_a_trial_comes_back(trials, monkeypatch):
    first = trials.next_trial()
    trials.on_trial_complete(first.trial_id)
    with monkeypatch.context() as patch:
        patch.setattr(BudgetAwareOptunaSearch, "suggest", lambda self, trial_id: None)
        assert trials.next_trial() is None
    assert trials.is_finished()
    trials.requeue(first.trial_id)
    assert not trials.is_finished()
    assert trials.next_trial().trial_id == first.trial_id


@pytest.mark.parametrize("before", [0, 2])
def test_a_trial_that_never_began_is_handed_out_again_before_new_ones_and_counts_once(trials, before):
    for _ in range(before):
        trials.on_trial_complete(trials.next_trial().trial_id)
    lost = trials.next_trial()
    trials.on_trial_complete(lost.trial_id, error=True)  # Tune has given it up
    trials.requeue(lost.trial_id)
    again = trials.next_trial()
    assert again is not lost
    assert (again.trial_id, again.config) == (lost.trial_id, lost.config)
    trials.on_trial_complete(again.trial_id)
    left = 0
    while not trials.is_finished():
        trials.on_trial_complete(trials.next_trial().trial_id)
        left += 1
    assert left == 2 - before


@pytest.mark.parametrize(
    "names",
    [{"model": "net.py:build", "model_sha256": "0", "model_file": "/elsewhere/net.py"}, {"study_dir": "/elsewhere"},
     {"data": "/elsewhere"}, {"cache_dir": "/elsewhere"}, {"patience": 99}],
)  # fmt: skip
def test_a_journal_does_not_decide_about_the_settings_that_all_trials_share(study, trials, names):
    trials.next_trial()
    trials.on_trial_complete("t0000")
    added = study.add_trial({"x": 0.5} | names)
    trials.requeue(added.trial_id)
    with pytest.raises(
        StudyError, match=f"t0001 has {', '.join(sorted(names))}, which the search has not chosen; rest"
    ):
        trials.next_trial()
