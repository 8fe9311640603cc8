import math

from inat.tuning.earlier.ranking import EarlierTrial, ranks_of


def trial(*best: float, stopped: bool = False) -> EarlierTrial:
    return EarlierTrial({}, best, stopped)


def test_trials_are_ranked_by_their_best_values_and_equal_ones_alike():
    assert ranks_of([trial(0.3), trial(0.1, 0.9), trial(0.3)]) == [1.5 / 4, 3 / 4, 1.5 / 4]


def test_a_stopped_trial_counts_with_what_completed_trials_gained_after_it():
    # After two reports, completed trials gained 0.2 and 0.4: the stopped one counts with 0.5 + 0.3.
    completed = [trial(0.1, 0.5, 0.7), trial(0.2, 0.5, 0.9)]
    assert ranks_of([*completed, trial(0.4, 0.5, stopped=True)]) == [1 / 4, 3 / 4, 2 / 4]


def test_a_stopped_trial_that_went_further_than_all_completed_ones_counts_as_it_is():
    assert ranks_of([trial(0.6), trial(0.1, 0.7, stopped=True), trial(0.8)]) == [1 / 4, 2 / 4, 3 / 4]


def test_a_value_that_is_not_finite_is_the_worst_and_is_no_gain():
    assert ranks_of([trial(0.1, -math.inf), trial(0.2, 0.1, stopped=True), trial(-math.inf)]) == [
        1.5 / 4,
        3 / 4,
        1.5 / 4,
    ]
