import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from inat.models.probe import HELD_OUT, fit_probe, held_out_rows, neighbour_votes, rotated, solve


def blobs(images: int, columns: int, classes: int = 3, noise: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
    """Correlated features around one centre per class."""
    random = torch.Generator().manual_seed(0)
    labels = torch.arange(images) % classes
    centres = torch.randn(classes, columns, generator=random)
    mixing = torch.randn(columns, columns, generator=random) / columns**0.5
    return (centres[labels] + noise * torch.randn(images, columns, generator=random)) @ mixing, labels


@pytest.mark.parametrize(("images", "columns"), [(90, 12), (30, 60)])
@pytest.mark.parametrize("penalty", [1.0, 1e-2])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_solution_is_that_of_scikit_learn(images, columns, penalty, weighted):
    features, labels = (part.double() if part.is_floating_point() else part for part in blobs(images, columns))
    weights = torch.tensor([0.5, 1.0, 3.0], dtype=torch.float64)[labels] if weighted else torch.ones(images).double()
    problem = rotated(features, labels, weights, 3)
    weight, bias = problem.in_features(*solve(problem, penalty, tolerance=1e-9))
    # scikit-learn minimises the sum of the losses + ||weight||^2 / (2 C).
    theirs = LogisticRegression(C=1 / (penalty * float(weights.sum())), solver="newton-cg", tol=1e-10, max_iter=5000)
    theirs.fit(features.numpy(), labels.numpy(), sample_weight=weights.numpy())
    assert weight.T.numpy() == pytest.approx(theirs.coef_, abs=1e-4)
    assert (bias - bias.mean()).numpy() == pytest.approx(theirs.intercept_ - theirs.intercept_.mean(), abs=1e-3)


def test_the_penalty_is_strong_for_noise_and_weak_for_clear_classes():
    noise = fit_probe(torch.randn(200, 50, generator=torch.Generator().manual_seed(1)), torch.arange(200) % 2, 2)
    clear = fit_probe(*blobs(200, 50, noise=0.05), 3)
    assert noise.penalty > clear.penalty


def test_scale_and_shift_of_a_feature_change_nothing():
    features, labels = blobs(120, 10)
    moved = features * torch.logspace(-2, 2, 10) + 7
    assert fit_probe(moved, labels, 3)(moved).numpy() == pytest.approx(
        fit_probe(features, labels, 3)(features).numpy(), abs=0.02
    )


def test_tiny_features_are_features():
    features, labels = blobs(120, 10, noise=0.1)
    assert bool((fit_probe(1e-12 * features, labels, 3)(1e-12 * features).argmax(1) == labels).all())


def test_constant_features_and_missing_classes_are_no_obstacle():
    features, labels = blobs(60, 5)
    features[:, 2] = 3.0
    logits = fit_probe(features, labels, 7)(features)
    assert bool(logits.isfinite().all())
    assert set(logits.argmax(1).tolist()) <= {0, 1, 2}


def test_class_weights_move_the_boundary_to_the_common_class():
    random = torch.Generator().manual_seed(3)
    labels = (torch.arange(200) % 10 == 0).long()
    features = torch.randn(200, 2, generator=random) + labels[:, None]
    plain = fit_probe(features, labels, 2)(features).argmax(1)
    balanced = fit_probe(features, labels, 2, [0.55, 5.0])(features).argmax(1)
    assert balanced.sum() > plain.sum()


def test_the_same_features_give_the_same_probe():
    features, labels = blobs(80, 20)
    assert torch.equal(fit_probe(features, labels, 3).weight, fit_probe(features, labels, 3).weight)


def test_every_fifth_image_of_each_class_is_held_out():
    labels = torch.tensor(np.random.default_rng(0).integers(0, 4, 203))
    mask = held_out_rows(labels)
    for label in range(4):
        assert int(mask[labels == label].sum()) == int((labels == label).sum()) // HELD_OUT


def test_neighbours_vote_by_direction_and_not_by_length():
    train = torch.tensor([[1.0, 0.0], [50.0, 1.0], [0.0, 1.0], [1.0, 60.0]])
    votes = neighbour_votes(train, torch.tensor([0, 0, 1, 1]), torch.tensor([[0.01, 0.0], [0.0, 900.0]]), 2)
    assert votes.argmax(1).tolist() == [0, 1]
    assert votes.sum(1).tolist() == pytest.approx([1, 1])


def test_neighbours_in_chunks_are_those_of_one_pass(monkeypatch):
    train, labels = blobs(100, 8)
    whole = neighbour_votes(train, labels, train[:37], 3)
    monkeypatch.setattr("inat.models.probe.CHUNK", 5)
    assert torch.allclose(neighbour_votes(train, labels, train[:37], 3), whole, atol=1e-5)
