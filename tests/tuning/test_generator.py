import pytest
from ray import tune

from inat.tuning.budget import Rungs
from inat.tuning.generator import StudyTrials
from inat.tuning.searcher import BudgetAwareOptunaSearch, SearcherOptions

SPACE = {"x": tune.uniform(0.0, 1.0)}


@pytest.fixture
def trials(study):
    """Of three that may run one at a time."""
    search = BudgetAwareOptunaSearch(study, SPACE, SearcherOptions(rungs=Rungs(grace=1, factor=3, max_epochs=9)))
    made = StudyTrials(search, max_concurrent=1)
    tune.register_trainable("no-trial", print)  # here, without Ray
    made.add_configurations({"any": {"run": "no-trial", "num_samples": 3, "config": {"patience": 2}}})
    return made


def test_trials_have_the_studys_ids_and_settings_and_are_as_many_as_wanted(trials):
    made = []
    while not trials.is_finished():
        made.append(trials.next_trial())
        assert trials.next_trial() is None
        trials.on_trial_complete(made[-1].trial_id)
    assert [trial.trial_id for trial in made] == ["t0000", "t0001", "t0002"]
    assert all(trial.config["patience"] == 2 for trial in made)


def test_more_run_at_a_time_once_there_is_more_room(trials):
    trials.resize(2)
    assert trials.next_trial()
    assert trials.next_trial()
    assert trials.next_trial() is None


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
