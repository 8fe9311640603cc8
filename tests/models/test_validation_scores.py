import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score, f1_score, top_k_accuracy_score
from torchmetrics.classification import MulticlassAccuracy

from inat.models.validation_scores import ValidationScores


@st.composite
def outputs(draw):
    """Logits (N, C) without ties, and labels (N,); not every class needs to have images."""
    classes, count = draw(st.integers(3, 6)), draw(st.integers(1, 40))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    labels = random.integers(draw(st.integers(1, classes)), size=count)
    return torch.from_numpy(random.normal(size=(count, classes))).float(), torch.from_numpy(labels)


def scores(logits, labels, batch: int) -> dict[str, float]:
    meter = ValidationScores(logits.shape[1])
    for part in zip(logits.split(batch), labels.split(batch), strict=True):
        meter.update(*part)
    return {name: float(value) for name, value in meter.compute().items()}


@given(outputs(), st.integers(1, 40))
def test_the_scores_are_those_of_scikit_learn_whatever_the_batches(given_outputs, batch):
    logits, labels = given_outputs
    predicted, classes = logits.argmax(1), range(logits.shape[1])
    found = scores(logits, labels, batch)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # classes that were predicted but have no images
        assert found["val_balanced_acc"] == pytest.approx(balanced_accuracy_score(labels, predicted), abs=1e-6)
    assert found["val_macro_f1"] == pytest.approx(f1_score(labels, predicted, average="macro"), abs=1e-6)
    top2 = top_k_accuracy_score(labels, logits, k=2, labels=list(classes))
    assert found["val_top2_acc"] == pytest.approx(top2, abs=1e-6)


@given(outputs(), st.integers(1, 40))
def test_the_accuracy_is_that_of_torchmetrics_bit_for_bit(given_outputs, batch):
    logits, labels = given_outputs
    meter = MulticlassAccuracy(logits.shape[1], average="micro", validate_args=False)
    for part in zip(logits.split(batch), labels.split(batch), strict=True):
        meter.update(*part)
    assert scores(logits, labels, batch)["val_acc"] == float(meter.compute())


def test_a_constant_answer_is_right_for_its_class_only():
    logits, labels = torch.tensor([[0.0, 1.0, 0.0]]).repeat(10, 1), torch.tensor([1] * 6 + [0] * 3 + [2])
    found = scores(logits, labels, 4)
    assert found["val_acc"] == pytest.approx(0.6)
    assert found["val_balanced_acc"] == pytest.approx(1 / 3)
    assert found["val_macro_f1"] == pytest.approx(0.25)


def test_a_predicted_class_counts_in_the_top_two_even_if_all_logits_are_equal():
    logits, labels = torch.zeros(4, 5), torch.zeros(4, 5).argmax(1)
    assert scores(logits, labels, 4)["val_top2_acc"] == 1.0


def test_a_reset_forgets_all_images():
    meter = ValidationScores(3)
    meter.update(torch.eye(3), torch.tensor([1, 2, 0]))
    meter.reset()
    meter.update(torch.eye(3), torch.tensor([0, 1, 2]))
    assert all(float(value) == 1.0 for value in meter.compute().values())
