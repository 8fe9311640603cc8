"""Sentences on the test scores of a final model, whatever version of inat.finalize wrote them."""

from collections.abc import Mapping, Sequence
from typing import Any


def accuracy_interval(test: Mapping[str, Any]) -> Sequence[float] | None:
    """Wilson's 95 % interval of the test accuracy; earlier versions kept it beside that of a bootstrap.

    >>> accuracy_interval({"accuracy_interval": [1.0, 1.0], "accuracy_wilson": [0.93, 1.0]})
    [0.93, 1.0]
    """
    found: Sequence[float] | None = test.get("accuracy_wilson") or test["accuracy_interval"]
    return found


def describe_calibration(test: Mapping[str, Any]) -> str:
    """The calibration error beside that of a perfectly calibrated model; earlier versions did not record the latter.

    >>> test = {"ece": 0.0243, "ece_chance": 0.024, "ece_chance_95": 0.041, "images": 360}
    >>> describe_calibration(test).partition(":")[0]
    'calibration error 0.0243, within chance'
    """
    error = f"calibration error {test['ece']:.4f}"
    if "ece_chance" not in test:
        return error
    verdict = "within chance" if test["ece"] <= test["ece_chance_95"] else "more than chance"
    return (
        f"{error}, {verdict}: a perfectly calibrated model has {test['ece_chance']:.4f} on average and less than "
        f"{test['ece_chance_95']:.4f} in 95 % of samples of {test['images']:,} images"
    )
