import pytest
import torch
from sklearn.metrics import balanced_accuracy_score, f1_score, log_loss
from torch.nn import functional

from inat.config.objective import OBJECTIVES
from inat.tuning.racing.scores import as_logits, interval_of, value_of

RANDOM = torch.Generator().manual_seed(0)
LABELS = torch.arange(300) % 3
LOGITS = torch.randn(300, 3, generator=RANDOM) + 2 * functional.one_hot(LABELS, 3)


def test_the_metrics_are_those_of_scikit_learn():
    predicted, true = LOGITS.argmax(1).numpy(), LABELS.numpy()
    expected = {
        "accuracy": (predicted == true).mean(), "balanced_accuracy": balanced_accuracy_score(true, predicted),
        "macro_f1": f1_score(true, predicted, average="macro"), "val_loss": log_loss(true, LOGITS.softmax(1).numpy()),
    }  # fmt: skip
    assert {name: value_of(OBJECTIVES[name], LOGITS, LABELS) for name in expected} == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("metric", sorted(OBJECTIVES))
def test_the_value_lies_inside_its_interval(metric):
    low, high = interval_of(OBJECTIVES[metric], LOGITS, LABELS)
    assert low < value_of(OBJECTIVES[metric], LOGITS, LABELS) < high
    assert (low, high) == interval_of(OBJECTIVES[metric], LOGITS, LABELS)


def test_votes_without_any_for_the_true_class_have_a_finite_loss():
    votes = as_logits(torch.tensor([[1.0, 0.0], [0.5, 0.5]]))
    assert value_of(OBJECTIVES["val_loss"], votes, torch.tensor([1, 0])) < 10
