import itertools

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import RandomSampler, TPESampler

from inat.tuning.sampling.samplers import make_sampler, sampler_for

SPACE = {
    "a": CategoricalDistribution(list("abcd")), "b": CategoricalDistribution([1, 2, 3, 4]),
    "c": CategoricalDistribution([True, False]), "only": CategoricalDistribution(["x"]), "one": IntDistribution(3, 3),
}  # fmt: skip
GOOD = {"a": "a", "b": 1, "c": True}


def converged(space: dict) -> optuna.Study:
    """A study with every configuration: the fewer differences from GOOD, the better."""
    study = optuna.create_study(direction="maximize")
    rest = {name: value for name, value in {"only": "x", "one": 3, "x": 0.25}.items() if name in space}
    for choice in itertools.product("abcd", (1, 2, 3, 4), (True, False)):
        params = dict(zip("abc", choice, strict=True)) | rest
        value = -sum(params[name] != GOOD[name] for name in GOOD)
        study.add_trial(optuna.create_trial(params=params, distributions=space, value=float(value)))
    return study


def suggested(space: dict, was_tried, seeds: int) -> list[dict]:
    """The next suggestion of TPE with each of the seeds 0 to ``seeds`` - 1."""
    study = converged(space)
    suggestions = []
    for seed in range(seeds):
        study.sampler = make_sampler("tpe", seed, space, was_tried)
        trial = study.ask(space)
        suggestions.append(trial.params)
        study.tell(trial, state=optuna.trial.TrialState.FAIL)
    return suggestions


def test_tried_configurations_are_not_suggested_as_long_as_a_candidate_is_new():
    favourites = suggested(SPACE, lambda params: False, 10)
    others = suggested(SPACE, favourites.__contains__, 10)
    assert not any(params in favourites for params in others)
    differences = [sum(params[name] != GOOD[name] for name in GOOD) for params in favourites + others]
    assert max(differences) == 1  # the next best ones are among the best of the space


def test_was_tried_gets_whole_configurations_with_the_values_of_the_space():
    asked: list[dict] = []
    space = SPACE | {"x": FloatDistribution(0.0, 1.0)}
    suggested(space, lambda params: bool(asked.append(params)), 1)
    assert len(asked) == 24
    assert all(params.keys() == space.keys() for params in asked)
    assert all(params["only"] == "x" and params["one"] == 3 and 0 <= params["x"] <= 1 for params in asked)


def test_suggests_the_same_as_optunas_tpe_while_some_trials_end_and_others_run():
    space = SPACE | {
        "x": FloatDistribution(0.0, 1.0), "rate": FloatDistribution(1e-4, 1e-1, log=True),
        "width": IntDistribution(1, 9), "size": IntDistribution(1, 64, log=True),
        "step": FloatDistribution(0.0, 1.0, step=0.25),
    }  # fmt: skip

    def suggestions(make) -> list[dict]:
        study = optuna.create_study(direction="maximize", sampler=RandomSampler(seed=0))
        running, found = [], []
        for seed in range(30):
            if seed >= 12:
                study.sampler = make(seed)
            running.append(study.ask(space))
            found.append(running[-1].params)
            if len(running) > 3:
                ended = running.pop(0)
                study.tell(ended, ended.params["x"])
        return found

    own = suggestions(lambda seed: make_sampler("tpe", seed, space, lambda params: False))
    optunas = suggestions(
        lambda seed: TPESampler(seed=seed, multivariate=True, constant_liar=True, n_startup_trials=10)
    )
    assert own == optunas


def test_if_all_candidates_have_been_tried_the_most_promising_one_is_suggested():
    assert suggested(SPACE, lambda params: True, 5) == suggested(SPACE, lambda params: False, 5)


@pytest.mark.parametrize("name", ["tpe", "random"])  # a Gaussian process finds the same point with each seed
def test_the_seed_decides_the_suggestion(name):
    def next_after_twelve(seed: int) -> float:
        study = optuna.create_study(sampler=RandomSampler(seed=0))
        for _ in range(12):
            trial = study.ask(space)
            study.tell(trial, trial.params["x"])
        study.sampler = make_sampler(name, seed, space, lambda params: False)
        return study.ask(space).params["x"]

    space = {"x": FloatDistribution(0.0, 1.0)}
    assert next_after_twelve(1) == next_after_twelve(1) != next_after_twelve(2)


RATE, NUMBER = FloatDistribution(1e-4, 1e-1, log=True), IntDistribution(1, 9)


@pytest.mark.parametrize(
    ("space", "chosen"),
    [
        ({"rate": RATE, "n": NUMBER, "only": CategoricalDistribution(["x"]), "one": IntDistribution(3, 3)}, "gp"),
        ({"rate": RATE, "n": NUMBER, "kind": CategoricalDistribution(["a", "b"])}, "tpe"),
        ({"only": CategoricalDistribution(["x"])}, "tpe"),
        ({}, "tpe"),
    ],
)
def test_a_space_of_ranges_gets_a_gaussian_process(space, chosen):
    assert sampler_for("auto", space) == chosen
