import itertools

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import RandomSampler, TPESampler

from inat.tuning.sampling.samplers import make_sampler

SPACE = {
    "a": CategoricalDistribution(list("abcd")), "b": CategoricalDistribution([1, 2, 3, 4]),
    "c": CategoricalDistribution([True, False]), "only": CategoricalDistribution(["x"]), "one": IntDistribution(3, 3),
}  # fmt: skip
GOOD = {"a": "a", "b": 1, "c": True}


def converged(space: dict) -> optuna.Study:
    """A study that knows very well what is good: the fewer differences from GOOD, the better."""
    study = optuna.create_study(direction="maximize")
    rest = {name: value for name, value in {"only": "x", "one": 3, "x": 0.25}.items() if name in space}
    for choice in itertools.product("abcd", (1, 2, 3, 4), (True, False)):
        params = dict(zip("abc", choice, strict=True)) | rest
        value = -sum(params[name] != GOOD[name] for name in GOOD)
        study.add_trial(optuna.create_trial(params=params, distributions=space, value=float(value)))
    return study


def drawn(space: dict, tried, seeds: int) -> list[dict]:
    """What TPE asks for next, with each of so many seeds."""
    study = converged(space)
    found = []
    for seed in range(seeds):
        study.sampler = make_sampler("tpe", seed, space, tried)
        trial = study.ask(space)
        found.append(trial.params)
        study.tell(trial, state=optuna.trial.TrialState.FAIL)
    return found


def test_what_was_tried_is_not_asked_for_again_while_one_of_the_candidates_is_new():
    favourites = drawn(SPACE, lambda params: False, 10)
    others = drawn(SPACE, favourites.__contains__, 10)
    assert not any(params in favourites for params in others)
    differences = [sum(params[name] != GOOD[name] for name in GOOD) for params in favourites + others]
    assert max(differences) == 1  # also those that come next are among the best that there are


def test_the_question_is_put_for_whole_configurations_in_the_users_values():
    asked: list[dict] = []
    space = SPACE | {"x": FloatDistribution(0.0, 1.0)}
    drawn(space, lambda params: bool(asked.append(params)), 1)
    assert len(asked) == 24
    assert all(params.keys() == space.keys() for params in asked)
    assert all(params["only"] == "x" and params["one"] == 3 and 0 <= params["x"] <= 1 for params in asked)


def test_asks_what_optunas_own_would_while_trials_end_and_others_run():
    space = SPACE | {
        "x": FloatDistribution(0.0, 1.0), "rate": FloatDistribution(1e-4, 1e-1, log=True),
        "width": IntDistribution(1, 9), "size": IntDistribution(1, 64, log=True),
        "step": FloatDistribution(0.0, 1.0, step=0.25),
    }  # fmt: skip

    def asked(make) -> list[dict]:
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

    ours = asked(lambda seed: make_sampler("tpe", seed, space, lambda params: False))
    own = asked(lambda seed: TPESampler(seed=seed, multivariate=True, constant_liar=True, n_startup_trials=10))
    assert ours == own


def test_where_all_candidates_were_tried_the_most_promising_is_named():
    assert drawn(SPACE, lambda params: True, 5) == drawn(SPACE, lambda params: False, 5)


@pytest.mark.parametrize("name", ["tpe", "random"])  # a Gaussian process finds the same best point with each
def test_a_seed_decides(name):
    def next_after_twelve(seed: int) -> float:
        study = optuna.create_study(sampler=RandomSampler(seed=0))
        for _ in range(12):
            trial = study.ask(space)
            study.tell(trial, trial.params["x"])
        study.sampler = make_sampler(name, seed, space, lambda params: False)
        return study.ask(space).params["x"]

    space = {"x": FloatDistribution(0.0, 1.0)}
    assert next_after_twelve(1) == next_after_twelve(1) != next_after_twelve(2)
