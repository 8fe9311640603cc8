import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from inat.tuning.samplers import make_sampler

SPACE = {
    "a": CategoricalDistribution(list("abcd")), "b": CategoricalDistribution([1, 2, 3, 4]),
    "c": CategoricalDistribution([True, False]), "only": CategoricalDistribution(["x"]), "one": IntDistribution(3, 3),
}  # fmt: skip
GOOD = {"a": "a", "b": 1, "c": True}


def converged(space: dict) -> optuna.Study:
    """A study that knows very well what is good: the fewer differences from GOOD, the better."""
    study = optuna.create_study(direction="maximize")
    fixed = {"only": "x", "one": 3}
    for a in "abcd":
        for b in (1, 2, 3, 4):
            for params in ({"a": a, "b": b, "c": c} | fixed for c in (True, False)):
                if "x" in space:
                    params["x"] = 0.25
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


def test_where_all_candidates_were_tried_one_of_them_is_named():
    assert all(params["a"] in "abcd" for params in drawn(SPACE, lambda params: True, 3))


@pytest.mark.parametrize("name", ["tpe", "gp", "random"])
def test_a_seed_decides(name):
    def first(seed: int) -> float:
        study = optuna.create_study(sampler=make_sampler(name, seed, space, lambda params: False))
        return study.ask(space).params["x"]

    space = {"x": FloatDistribution(0.0, 1.0)}
    assert first(1) == first(1) != first(2)
