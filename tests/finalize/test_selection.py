import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from inat.config.objective import ACCURACY, OBJECTIVES
from inat.finalize.selection import (
    MAX_MEMBERS,
    MAX_PICKS,
    Selection,
    cross_entropy,
    mean_probabilities,
    objective_value,
    select_greedily,
)


def pool_of(seed: int, models: int, images: int, classes: int, skill: float) -> tuple[list[torch.Tensor], torch.Tensor]:
    """Probabilities of random models that prefer the true class by ``skill``, and the true classes."""
    random = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (images,), generator=random)
    true = torch.nn.functional.one_hot(labels, classes) * skill
    return [(2 * torch.randn(images, classes, generator=random) + true).softmax(1) for _ in range(models)], labels


def value_of(chosen: Selection, pool: list[torch.Tensor], labels: torch.Tensor, objective) -> float:
    mean = mean_probabilities([pool[i] for i in chosen.weights], list(chosen.weights.values()))
    return objective_value(mean, labels, objective)


@given(
    st.integers(0, 2**32 - 1), st.integers(1, 6), st.integers(1, 60), st.integers(2, 5),
    st.sampled_from([0.0, 1.0, 3.0]), st.sampled_from(sorted(OBJECTIVES)), st.integers(1, MAX_MEMBERS),
)  # fmt: skip
@settings(max_examples=25, deadline=None)
def test_the_ensemble_is_never_worse_than_the_best_model(seed, models, images, classes, skill, name, most):
    pool, labels = pool_of(seed, models, images, classes, skill)
    objective = OBJECTIVES[name]
    chosen = select_greedily(pool, labels, objective, most)
    alone = [objective.sign * objective_value(one, labels, objective) for one in pool]
    assert alone[chosen.picks[0]] == pytest.approx(max(alone), abs=1e-4)
    assert objective.sign * value_of(chosen, pool, labels, objective) >= max(alone) - 1e-4
    assert len(chosen.counts) <= most
    assert len(chosen.picks) <= MAX_PICKS
    assert sum(chosen.weights.values()) == pytest.approx(1)
    assert select_greedily(pool, labels, objective, most) == chosen


@given(st.integers(0, 2**32 - 1), st.permutations(range(4)))
@settings(max_examples=8, deadline=None)
def test_the_order_of_the_models_does_not_matter(seed, order):
    pool, labels = pool_of(seed, 4, 50, 4, 1.0)
    chosen = select_greedily(pool, labels, ACCURACY).weights
    shuffled = select_greedily([pool[i] for i in order], labels, ACCURACY).weights
    assert {order[i]: weight for i, weight in shuffled.items()} == pytest.approx(chosen)


def test_models_that_err_on_different_images_are_joined():
    # Each is sure on two images and unsure on the third, where the other two outvote it.
    sure, unsure = [0.1, 0.9], [0.6, 0.4]
    pool = [torch.tensor([unsure if i == wrong else sure for i in range(3)]) for wrong in range(3)]
    labels = torch.ones(3, dtype=torch.long)
    chosen = select_greedily(pool, labels, ACCURACY)
    assert value_of(chosen, pool, labels, ACCURACY) == 1.0
    assert objective_value(pool[0], labels, ACCURACY) == pytest.approx(2 / 3)


def test_a_model_that_helps_no_more_is_left_out():
    good, bad = torch.tensor([[0.9, 0.1], [0.1, 0.9]]), torch.tensor([[0.1, 0.9], [0.9, 0.1]])
    chosen = select_greedily([bad, good, good.clone()], torch.tensor([0, 1]), ACCURACY)
    assert chosen == Selection((1,))


def test_equal_accuracies_are_decided_by_the_cross_entropy():
    labels = torch.tensor([0, 0])
    unsure, sure = torch.tensor([[0.6, 0.4], [0.6, 0.4]]), torch.tensor([[0.8, 0.2], [0.6, 0.4]])
    assert select_greedily([unsure, sure], labels, ACCURACY).picks[0] == 1
    other = torch.tensor([[0.55, 0.45], [0.95, 0.05]])  # sure of the image that the first is unsure of
    assert set(select_greedily([sure, other], labels, ACCURACY).counts) == {0, 1}


def test_repeated_picks_become_weights_without_a_common_divisor():
    assert Selection((3, 1, 3)).weights == {3: pytest.approx(2 / 3), 1: pytest.approx(1 / 3)}
    assert Selection((2, 5, 5, 2)).counts == {2: 1, 5: 1}


def test_a_probability_of_zero_has_a_finite_cross_entropy():
    assert 80 < cross_entropy(torch.tensor([[1.0, 0.0]]), torch.tensor([1])) < 100
