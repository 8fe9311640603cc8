import numpy as np
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.study import StudyDirection
from optuna.trial import TrialState, create_trial
from ray import tune

from inat.errors import StudyError
from inat.study.study import Study
from inat.tuning.rungs import Rungs
from inat.tuning.sampling.options import SearcherOptions
from inat.tuning.sampling.prior import HALF, LEAST, Prior
from inat.tuning.sampling.searcher import BudgetAwareOptunaSearch
from tests.helpers import run_epochs

SPACE = {"x": tune.uniform(0.0, 1.0), "kind": tune.choice(["a", "b"]), "fixed": tune.choice([1])}
DISTRIBUTIONS = {
    "x": FloatDistribution(0.0, 1.0), "kind": CategoricalDistribution(["a", "b"]),
    "fixed": CategoricalDistribution([1]),
}  # fmt: skip


def earlier(best: float, count: int = 40) -> list[dict]:
    """Earlier trials, the best of which are near ``best``."""
    xs = np.random.default_rng(0).uniform(size=count)
    order = np.argsort(-np.abs(xs - best))
    return [
        {"rank": (rank + 1) / (count + 1), "params": {"x": float(xs[i]), "kind": "ab"[i % 2], "fixed": 1}}
        for rank, i in enumerate(order)
    ]


def prior_at(best: float) -> Prior:
    prior = Prior.of(earlier(best), DISTRIBUTIONS)
    assert prior is not None
    return prior


def own_trials(values: dict[float, float]) -> list:
    space = {"x": DISTRIBUTIONS["x"], "kind": DISTRIBUTIONS["kind"]}
    return [create_trial(value=v, params={"x": x, "kind": "a"}, distributions=space) for x, v in values.items()]


def test_scores_are_high_where_earlier_trials_were_good():
    prior = prior_at(0.2)
    near, far = prior.scores({"x": np.array([0.2, 0.8]), "kind": np.array([0.0, 0.0])})
    assert near > 1 > 0 > far
    drawn = prior.draw(np.random.RandomState(0), 200)
    assert drawn.keys() == {"x", "kind"}
    assert np.median(np.abs(drawn["x"] - 0.2)) < 0.15


def test_a_prior_needs_enough_trials_and_leaves_out_what_few_of_them_have():
    assert Prior.of(earlier(0.2)[: LEAST - 1], DISTRIBUTIONS) is None
    assert Prior.of([], DISTRIBUTIONS) is None
    half = [trial if n % 2 else trial | {"params": {"x": trial["params"]["x"]}} for n, trial in enumerate(earlier(0.2))]
    prior = Prior.of(half, DISTRIBUTIONS)
    assert prior is not None
    assert prior.space.keys() == {"x"}
    assert Prior.of([trial | {"params": {}} for trial in half], DISTRIBUTIONS) is None


@pytest.mark.parametrize(("direction", "sign"), [(StudyDirection.MAXIMIZE, 1), (StudyDirection.MINIMIZE, -1)])
def test_the_weight_falls_with_own_trials_and_to_nothing_where_they_contradict(direction, sign):
    prior = prior_at(0.2)
    assert prior.weight([], direction) == 1
    xs = np.linspace(0.2, 0.9, 12)
    agreeing = own_trials({x: sign * (1 - x) for x in xs})
    assert prior.weight(agreeing[:6], direction) > prior.weight(agreeing, direction) > 0.5 * HALF / (HALF + 12)
    assert prior.weight(own_trials({x: sign * x for x in xs}), direction) == 0
    equal = prior.weight(own_trials(dict.fromkeys(xs, 0.5)), direction)
    assert 0 < equal < prior.weight(agreeing, direction)


def test_trials_without_a_value_count_as_own_trials_only():
    prior = prior_at(0.2)
    pruned = create_trial(state=TrialState.PRUNED, params={"x": 0.9}, distributions={"x": DISTRIBUTIONS["x"]})
    assert prior.weight([pruned] * HALF, StudyDirection.MAXIMIZE) == 0.5


def searcher(study: Study, trials: list[dict], **options) -> BudgetAwareOptunaSearch:
    options = {"rungs": Rungs(1, 3, 9), "earlier": trials} | options
    return BudgetAwareOptunaSearch(study, SPACE, SearcherOptions(**options))


def search(searcher: BudgetAwareOptunaSearch, study: Study, until: int) -> list[dict]:
    """Run trials whose values are best at x = 0.2, one after the other, until the study has so many."""
    while len(study.trials) < until or study.unfinished():
        trial_id = searcher.next_trial_id()
        params = searcher.suggest(trial_id)
        assert params is not None
        run_epochs(study, trial_id, [1 - abs(params["x"] - 0.2)])
        study.end_trial(trial_id, "completed")
        searcher.on_trial_update(study.trials[trial_id])
    return [trial.params for trial in study.trials.values()]


def test_more_trials_are_near_the_earlier_good_ones_but_not_all_of_them(tmp_path):
    def near(trials: list[dict]) -> int:
        found = []
        for seed in range(6):
            study = Study.create(tmp_path / f"{len(trials)}-{seed}", {"config": {}})
            found += search(searcher(study, trials, seed=seed), study, 14)
        return sum(abs(params["x"] - 0.2) < 0.15 for params in found)

    assert near([]) < near(earlier(0.2)) < 6 * 14


def test_a_search_that_is_misled_finds_the_best_values(study):
    found = search(searcher(study, earlier(0.9)), study, 40)
    assert min(abs(params["x"] - 0.2) for params in found) < 0.02
    assert np.mean([abs(params["x"] - 0.2) < 0.2 for params in found[20:]]) > 0.7


@pytest.mark.parametrize("cut", [4, 15])
def test_a_resumed_search_suggests_what_the_uninterrupted_search_would(tmp_path, cut):
    whole = Study.create(tmp_path / "whole", {"config": {}})
    expected = search(searcher(whole, earlier(0.3)), whole, 20)
    part = Study.create(tmp_path / "part", {"config": {}})
    search(searcher(part, earlier(0.3)), part, cut)
    part.close()
    part = Study.open(part.directory)
    assert search(searcher(part, earlier(0.3)), part, 20) == expected
    cold = Study.create(tmp_path / "cold", {"config": {}})
    assert search(searcher(cold, []), cold, 20)[12:] != expected[12:]


@pytest.mark.parametrize("broken", [{"rank": "x"}, {"params": {"x": 7.0, "kind": "a"}}, {"params": 3}, {"params": {}}])
def test_edited_earlier_trials_are_refused(study, broken):
    trials = [trial | broken for trial in earlier(0.2)]
    if broken == {"params": {}}:
        trials = [{"rank": 0.5}] * 20
    with pytest.raises(StudyError, match="the earlier trials in study.json do not fit its search space"):
        searcher(study, trials)


def test_other_samplers_have_no_prior(study):
    cold = search(searcher(study, [], sampler="random"), study, 3)
    other = Study.create(study.directory.parent / "other", {"config": {}})
    assert search(searcher(other, earlier(0.2), sampler="random"), other, 3) == cold
