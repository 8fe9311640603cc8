"""A perceptron on the digits with seven hyperparameters in ranges, trained whenever search_quality.py asks for it.

300 images train and the other 1,497 validate; with more of them, most configurations are equally good. One hidden layer
of 64 units, SGD with Nesterov momentum, a rate that falls exponentially. A training takes about 30 ms. The same
hyperparameters always have the same curve.
"""

import hashlib
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

EPOCHS = 27
TRAINING = 300  # images
BATCH = 32
HIDDEN = 64
LOG_RANGES = {
    "learning_rate": (1e-3, 1.0), "momentum_left": (0.01, 1.0), "weight_decay": (1e-6, 0.1),
    "initial_scale": (0.1, 10.0), "last_rate": (1e-3, 1.0),
}  # fmt: skip
Array = NDArray[np.float32]
Labels = NDArray[np.int64]


@cache
def images() -> tuple[Array, Labels, Array, Labels]:
    """Training images and labels, validation images and labels; images have values from -1 to 1."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    pixels, labels = load_digits(return_X_y=True)
    scaled = (pixels / 8 - 1).astype(np.float32)
    train, rest, known, wanted = train_test_split(scaled, labels, train_size=TRAINING, stratify=labels, random_state=0)
    return train, known, rest, wanted


def curve(params: Mapping[str, Any]) -> NDArray[np.float64]:
    """Best validation accuracy up to each epoch."""
    text = ",".join(f"{name}={params[name]!r}" for name in sorted(params))
    seed = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")
    with np.errstate(all="ignore"):  # a training may diverge
        return np.maximum.accumulate(_accuracies(params, np.random.default_rng(seed)))


def _accuracies(params: Mapping[str, Any], draws: np.random.Generator) -> list[float]:
    train, known, rest, wanted = images()
    targets = np.full((TRAINING, 10), params["label_smoothing"] / 10, np.float32)
    targets[np.arange(TRAINING), known] += 1 - params["label_smoothing"]
    weights = [
        (draws.standard_normal(shape) * params["initial_scale"] * np.sqrt(2 / shape[0])).astype(np.float32)
        for shape in ((64, HIDDEN), (HIDDEN, 10))
    ]
    weights += [np.zeros(HIDDEN, np.float32), np.zeros(10, np.float32)]
    velocities = [np.zeros_like(one) for one in weights]
    steps = EPOCHS * -(-TRAINING // BATCH)
    rates = iter(params["learning_rate"] * params["last_rate"] ** (np.arange(steps) / steps))
    found = []
    for _ in range(EPOCHS):
        order = draws.permutation(TRAINING)
        for start in range(0, TRAINING, BATCH):
            some = order[start : start + BATCH]
            gradients = _gradients(weights, train[some], targets[some], params, draws)
            _step(weights, velocities, gradients, next(rates), 1 - params["momentum_left"])
        scores = np.maximum(rest @ weights[0] + weights[2], 0) @ weights[1] + weights[3]
        found.append(float((scores.argmax(1) == wanted).mean()) if np.isfinite(scores).all() else 0.0)
    return found


def _gradients(
    weights: list[Array], images: Array, targets: Array, params: Mapping[str, Any], draws: np.random.Generator
) -> list[Array]:
    """Gradients of the mean cross-entropy with weight decay, in the order of ``weights``."""
    before = images @ weights[0] + weights[2]
    keep = 1 - params["dropout"]
    mask = (draws.random(before.shape, np.float32) < keep) / np.float32(keep) * (before > 0)
    hidden = before * mask
    scores = hidden @ weights[1] + weights[3]
    chances = np.exp(scores - scores.max(1, keepdims=True))
    error = (chances / chances.sum(1, keepdims=True) - targets) / len(images)
    back = error @ weights[1].T * mask
    decay = np.float32(params["weight_decay"])
    return [images.T @ back + decay * weights[0], hidden.T @ error + decay * weights[1], back.sum(0), error.sum(0)]


def _step(weights: list[Array], velocities: list[Array], gradients: list[Array], rate: float, momentum: float) -> None:
    """One step of SGD with Nesterov momentum, in place."""
    for weight, velocity, gradient in zip(weights, velocities, gradients, strict=True):
        velocity *= np.float32(momentum)
        velocity -= np.float32(rate) * gradient
        weight += np.float32(momentum) * velocity - np.float32(rate) * gradient
