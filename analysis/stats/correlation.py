"""Correlation of each hyperparameter with accuracy: Pearson as W&B's panel has it, and Spearman, with intervals.

Both look at one column at a time. They cannot tell a parameter's own effect from that of others which a Bayesian search
preferred together with it (``effects`` can, in part), and they miss whatever rises and falls again.
"""

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from analysis.comparable import ACCURACY, Sample
from analysis.stats.encode import encode
from analysis.stats.resampling import ROUNDS, Array, indices, interval

BLOCK = 100  # bootstrap samples at a time, which bounds the memory: 500 trials x 30 columns x 100 are 12 MB


def correlations(sample: Sample) -> pd.DataFrame:
    """A row for each encoded column: pearson and spearman, their bootstrap 95 % intervals, trials and epochs.

    Categories are one-hot. Numbers are as they are, not their logarithms, as in W&B; Spearman does not mind.
    """
    encoded, owners = encode(sample.trials, sample.parameters, logs=False)
    columns, accuracy = encoded.to_numpy(), sample.trials[ACCURACY].to_numpy(dtype=float)
    ranks, ranked = rankdata(columns, axis=0), rankdata(accuracy)
    found: dict[str, object] = {"column": list(encoded.columns), "parameter": owners}
    if columns.shape[1]:
        drawn = indices(len(sample), ROUNDS)
        blocks = [drawn[i : i + BLOCK] for i in range(0, ROUNDS, BLOCK)]
        pearson = np.vstack([correlate(columns[b], accuracy[b]) for b in blocks])
        spearman = np.vstack([correlate(rankdata(columns[b], axis=1), rankdata(accuracy[b], axis=1)) for b in blocks])
        found |= _with_interval("pearson", correlate(columns[None], accuracy[None])[0], pearson, len(sample))
        found |= _with_interval("spearman", correlate(ranks[None], ranked[None])[0], spearman, len(sample))
    return pd.DataFrame(found).assign(trials=len(sample), epochs=sample.epochs)


def correlate(columns: Array, values: Array) -> Array:
    """Pearson's correlation of each column with ``values``, for many samples: (s, n, c) and (s, n) to (s, c).

    NaN where one of them does not vary.
    """
    centred = columns - columns.mean(axis=1, keepdims=True)
    deviations = (values - values.mean(axis=1, keepdims=True))[:, None, :]
    products = (deviations @ centred)[:, 0, :]
    squares = (centred**2).sum(axis=1) * (deviations**2).sum(axis=2)
    with np.errstate(invalid="ignore", divide="ignore"):
        # Squares of rounding errors are not variation.
        return np.where(squares > 1e-20, products / np.sqrt(squares), np.nan)


def _with_interval(name: str, values: Array, draws: Array, n: int) -> dict[str, object]:
    ends = [interval(draws[:, i], n) for i in range(len(values))]
    return {name: values, f"{name}_low": [low for low, _ in ends], f"{name}_high": [high for _, high in ends]}
