import random

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.samplers import TPESampler
from optuna.samplers._tpe.sampler import _split_trials
from optuna.trial import TrialState, create_trial

from inat.tuning.sampling.history import GOOD, LEARNED, BoundedHistory, rank

SPACE = {"x": FloatDistribution(0.0, 1.0), "kind": CategoricalDistribution(["a", "b", "c"])}
ASKED = [*LEARNED, TrialState.RUNNING]  # as TPE asks


def study_of(limit: int, direction: str = "maximize") -> optuna.Study:
    sampler = optuna.samplers.RandomSampler(seed=0)
    return optuna.create_study(storage=BoundedHistory(limit), direction=direction, sampler=sampler)


def learned(study: optuna.Study) -> list[int]:
    return [trial.number for trial in study.get_trials(deepcopy=False, states=ASKED)]


def run(study: optuna.Study, count: int) -> dict[int, float]:
    """Trials of which two run at a time; returns the values of the ended ones by number."""
    numbers, values = random.Random(0), {}
    live = [study.ask(SPACE)]
    for _ in range(count):
        live.append(study.ask(SPACE))
        ended = live.pop(numbers.randrange(2))
        values[ended.number] = numbers.random()
        study.tell(ended, values[ended.number])
    return values


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_beyond_the_limit_the_best_and_the_latest_trials_are_learned_and_those_that_run(direction):
    study = study_of(60, direction)
    values = run(study, 200)
    best = sorted(values, key=values.get, reverse=direction == "maximize")[:GOOD]
    latest = [number for number in sorted(values, reverse=True) if number not in best][: 60 - GOOD]
    (running,) = set(range(201)) - values.keys()
    assert learned(study) == sorted([*best, *latest, running])
    assert len(study.trials) == 201


def test_a_gaussian_process_learns_from_as_many_trials_as_the_limit_says():
    study = study_of(60)
    run(study, 200)
    asked = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.RUNNING))  # as GPSampler asks
    assert len(asked) == 60 + 1


def test_up_to_the_limit_all_trials_are_learned():
    study = study_of(200)
    run(study, 200)
    assert learned(study) == list(range(201))
    run(study, 1)
    assert len(learned(study)) == 200 + 2


def test_failed_and_waiting_trials_are_no_part_of_it():
    study = study_of(30)
    run(study, 40)
    study.tell(study.ask(SPACE), state=TrialState.FAIL)
    study.enqueue_trial({"x": 0.5})
    assert not {41, 42} & set(learned(study))
    assert study.ask(SPACE).number == 42
    assert 42 in learned(study)


def test_added_trials_count_as_those_that_were_told():
    values = run(told := study_of(50), 120)
    added = study_of(50)
    for trial in told.trials:
        added.add_trial(trial) if trial.number in values else added.ask(SPACE)
    assert learned(added) == learned(told)


def test_tpe_sees_no_difference_up_to_the_limit():
    suggested = []
    for limit in (40, 10**6):
        study = study_of(limit)
        run(study, 39)
        study.sampler = TPESampler(seed=1, multivariate=True, constant_liar=True)
        suggested.append([study.ask(SPACE).params for _ in range(3)])
    assert suggested[0] == suggested[1]


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_the_best_trials_are_those_that_tpe_takes_as_good(direction):
    values = [{"state": TrialState.COMPLETE, "value": value} for value in (0.1, 0.9, 0.5, 0.9)]
    steps = [{1: 0.9}, {1: 0.9, 3: 0.2}, {3: 0.4}, {}]
    pruned = [{"state": TrialState.PRUNED, "intermediate_values": one} for one in steps]
    trials = [create_trial(params={}, distributions={}, **options) for options in (*values, *pruned)]
    study = optuna.create_study(direction=direction)
    study.add_trials(trials)
    ranked = sorted(study.trials, key=lambda trial: (rank(trial, study.direction), trial.number))
    for count in range(len(trials) + 1):
        good, _ = _split_trials(study, study.trials, count)
        assert {trial.number for trial in good} == {trial.number for trial in ranked[:count]}


class Later:
    """A chain that gives some trials other values, and trials with odd numbers a higher rung."""

    def __init__(self, values: dict[int, float], running: set[int] = frozenset()) -> None:
        self.values, self.running = values, running

    def value_of(self, number: int) -> float | None:
        return self.values.get(number)

    def rung_of(self, number: int) -> int | None:
        return number % 2 if number in self.values else None


def test_ended_trials_have_the_present_values_of_the_chain():
    chain = Later({0: 0.25})
    study = optuna.create_study(storage=BoundedHistory(chain=chain), direction="maximize")
    for value in (0.1, 0.2):
        study.tell(study.ask(SPACE), value)
    for present in (0.25, 0.75):
        chain.values[0] = present
        assert [trial.value for trial in study.get_trials(deepcopy=False, states=ASKED)] == [present, 0.2]


def test_a_running_trial_with_a_value_is_complete_for_those_who_ask_for_running_ones():
    chain = Later({0: 0.4, 1: 0.5}, {0})
    study = optuna.create_study(storage=BoundedHistory(chain=chain), direction="maximize")
    for _ in range(2):
        study.ask(SPACE)
    states = [(trial.state.name, trial.values) for trial in study.get_trials(deepcopy=False, states=ASKED)]
    assert states == [("COMPLETE", [0.4]), ("RUNNING", None)]
    assert study.get_trials(deepcopy=False, states=LEARNED) == []
    assert {trial.state.name for trial in study.trials} == {"RUNNING"}


def test_beyond_the_limit_the_best_trials_are_those_by_the_present_values():
    chain = Later({})
    storage = BoundedHistory(GOOD + 5, chain)
    study = optuna.create_study(storage=storage, direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0))
    numbers = random.Random(0)
    told = {}
    for number in range(120):
        told[number] = numbers.random()
        if number % 3:
            chain.values[number] = told[number]
        study.tell(study.ask(SPACE), told[number])
    chain.values = {number: value + number % 2 for number, value in chain.values.items()}  # one rung gains
    present = told | chain.values
    best = sorted(present, key=present.get, reverse=True)[:GOOD]
    latest = [number for number in range(119, -1, -1) if number not in best][:5]
    assert learned(study) == sorted([*best, *latest])
