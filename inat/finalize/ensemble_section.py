"""The section of metrics.json about the ensemble: its scores beside those of the single model, and both in words."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

from analysis.stats.pairs import compare_pairs
from inat.config.objective import ACCURACY, Objective
from inat.errors import StudyError
from inat.finalize.evaluation_file import Evaluation
from inat.finalize.metrics import interval_of
from inat.finalize.selection import objective_value
from inat.finalize.test_evaluation import rank_classes

CHANCE = 0.05  # a difference with a larger p-value may be chance
OPTIMISTIC = (
    "The members were chosen on the validation images, so the validation score of the ensemble is optimistic; only the "
    "test accuracies can be compared."
)


def scores_on_validation(probabilities: Mapping[str, Tensor], labels: Tensor, objective: Objective) -> dict[str, Any]:
    """The accuracy with Wilson's interval, and the value of ``objective``, of each model by name."""
    scores: dict[str, Any] = {"images": len(labels)}
    for name, one in probabilities.items():
        hits = int((one.argmax(1) == labels).sum())
        scores[name] = {"accuracy": hits / len(labels), "accuracy_interval": interval_of(hits, len(labels))}
        if objective != ACCURACY:
            scores[name][objective.column] = objective_value(one, labels, objective)
    return scores


def scores_on_test(ensemble: Evaluation, model: Evaluation) -> dict[str, Any]:
    """The test accuracy of the ensemble with Wilson's interval, and its difference from the single model's.

    Raises StudyError if the two were tested on different images.
    """
    if ensemble.names != model.names or not np.array_equal(ensemble.labels, model.labels):
        raise StudyError(
            f"the ensemble and the model were tested on different images ({len(ensemble.names)} and "
            f"{len(model.names)}): the readable photos have changed; restore them, or pass --no-ensemble"
        )
    right, model_right = (rank_classes(one.logits)[:, 0] == one.labels for one in (ensemble, model))
    pairs = compare_pairs(right, model_right)
    only = {"only_ensemble": pairs.pop("only_first"), "only_model": pairs.pop("only_second")}
    return {
        "images": len(right), "accuracy": float(right.mean()),
        "accuracy_interval": interval_of(int(right.sum()), len(right)),
        **pairs, **only, "test": "McNemar's, exact", "evaluations": ensemble.evaluations,
    }  # fmt: skip


def in_words(section: Mapping[str, Any], objective: Objective) -> list[str]:
    """The findings, then what they cost and how far they can be trusted."""
    texts = (_test(section), _cost(section), _validation(section, objective), _again(section))
    return [text for text in texts if text]


def _test(section: Mapping[str, Any]) -> str:
    if (test := section["test"]) is None:
        return (
            f"No ensemble: of the {section['pool']} runs, none improves the validation score of the best run when "
            "their probabilities are averaged."
        )
    chance = ", which may be chance" if test["p_value"] > CHANCE else ""
    return (
        f"The mean of the probabilities of {len(section['members'])} of the {section['pool']} runs has a test accuracy "
        f"of {test['accuracy']:.4f} (95 % interval {_interval(test['accuracy_interval'])}), "
        f"{abs(test['difference']):.4f} {'less' if test['difference'] < 0 else 'more'} than the model "
        f"({_interval(test['difference_interval'])}; McNemar's exact test: p = {test['p_value']:.2g}){chance}. "
        f"Only the ensemble is right on {_count(test['only_ensemble'])}, only the model on "
        f"{_count(test['only_model'])}."
    )


def _cost(section: Mapping[str, Any]) -> str:
    if section["test"] is None:
        return ""
    cost, model = section["cost"], section["model_cost"]
    return (
        f"It takes {cost['forward_passes']} forward passes per image where the model takes {model['forward_passes']}, "
        f"and has {cost['parameters']:,} parameters where the model has {model['parameters']:,}."
    )


def _validation(section: Mapping[str, Any], objective: Objective) -> str:
    if section["test"] is None:
        return ""
    scores = section["validation"]
    column = "accuracy" if objective == ACCURACY else objective.column
    label = objective.label[0].upper() + objective.label[1:]
    of_model = f" and {scores['model'][column]:.4f} of the model" if "model" in scores else ""
    return (
        f"{label}: {scores['ensemble'][column]:.4f}, against {scores['best_run'][column]:.4f} of the best run"
        f"{of_model}. {OPTIMISTIC}"
    )


def _again(section: Mapping[str, Any]) -> str:
    count = section["test"]["evaluations"] if section["test"] else 1
    if count < 2:
        return ""
    return (
        f"It is one of {count} ensembles of this study that were evaluated on the test split; do not choose among them "
        "by their test scores."
    )


def _interval(ends: list[float] | None) -> str:
    return "-" if ends is None else f"{ends[0]:.4f} to {ends[1]:.4f}"


def _count(images: int) -> str:
    return "1 image" if images == 1 else f"{images} images"
