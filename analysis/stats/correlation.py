"""Correlation of each hyperparameter with accuracy: Pearson's, as in W&B's panel, and Spearman's, with intervals.

Both look at one column at a time. They cannot separate the effect of a parameter from the effects of other parameters
that a Bayesian search preferred together with it (``analysis.stats.effects`` can, in part), and they miss effects that
rise and fall again.
"""

import numpy as np
import pandas as pd
from scipy.stats import norm, rankdata

from analysis.comparable import ACCURACY, Sample
from analysis.stats.encode import encode
from analysis.stats.resampling import CONFIDENCE, ROUNDS, Array, bootstrap_indices, percentile_interval

BLOCK = 100  # bootstrap samples at a time, to bound the memory: 500 trials x 30 columns x 100 are 12 MB


def correlations(sample: Sample) -> pd.DataFrame:
    """One row per encoded column: pearson and spearman with bootstrap 95 % intervals, trials and epochs.

    Categories are one-hot encoded. Numbers are not put on a log scale, as in W&B; Spearman's correlation is the same
    either way.

    >>> from analysis.comparable import sample_at
    >>> correlations(sample_at(study))[["column", "pearson"]].round(2).values[-1].tolist()
    ['learning_rate', 0.44]
    """
    encoded, owners = encode(sample.trials, sample.parameters, logs=False)
    columns, accuracy = encoded.to_numpy(), sample.trials[ACCURACY].to_numpy(dtype=float)
    column_ranks, accuracy_ranks = rankdata(columns, axis=0), rankdata(accuracy)
    table: dict[str, object] = {"column": list(encoded.columns), "parameter": owners}
    if columns.shape[1]:
        drawn = bootstrap_indices(len(sample), ROUNDS)
        blocks = [drawn[i : i + BLOCK] for i in range(0, ROUNDS, BLOCK)]
        pearson = np.vstack([correlate(columns[b], accuracy[b]) for b in blocks])
        spearman = np.vstack([correlate(rankdata(columns[b], axis=1), rankdata(accuracy[b], axis=1)) for b in blocks])
        table |= _with_interval("pearson", correlate(columns[None], accuracy[None])[0], pearson, len(sample))
        ranks = correlate(column_ranks[None], accuracy_ranks[None])[0]
        table |= _with_interval("spearman", ranks, spearman, len(sample))
    return pd.DataFrame(table).assign(trials=len(sample), epochs=sample.epochs)


def correlate(columns: Array, values: Array) -> Array:
    """Pearson's correlation of each column with ``values``, for s samples of n trials and c columns at once.

    Shapes: (s, n, c) and (s, n) to (s, c). NaN where a column or ``values`` is constant.
    """
    centred = columns - columns.mean(axis=1, keepdims=True)
    deviations = (values - values.mean(axis=1, keepdims=True))[:, None, :]
    products = (deviations @ centred)[:, 0, :]
    squares = (centred**2).sum(axis=1) * (deviations**2).sum(axis=2)
    with np.errstate(invalid="ignore", divide="ignore"):
        # Below 1e-20 the products are squared rounding errors of constant columns.
        return np.where(squares > 1e-20, products / np.sqrt(squares), np.nan)


def spearman_interval(found: float, n: int) -> tuple[float, float]:
    """The 95 % interval of Spearman's correlation of ``n`` pairs: Fisher's z with the error of ``spearman_error``.

    >>> [round(end, 2) for end in spearman_interval(0.5, 24)]
    [0.1, 0.76]
    """
    return fisher_interval(found, float(norm.ppf((1 + CONFIDENCE) / 2)) * spearman_error(found, n))


def fisher_interval(found: float, reach: float) -> tuple[float, float]:
    """The correlations whose Fisher's z is within ``reach`` of that of ``found``.

    >>> [round(end, 2) for end in fisher_interval(0.5, 0.2)]
    [0.34, 0.63]
    """
    z = fisher_z(found)
    return float(np.tanh(z - reach)), float(np.tanh(z + reach))


def spearman_error(found: float, n: int) -> float:
    """The standard error of Fisher's z of Spearman's correlation of ``n`` pairs.

    Bonett and Wright, "Sample size requirements for estimating Pearson, Kendall and Spearman correlations",
    Psychometrika 65 (2000).

    >>> round(spearman_error(0.5, n=28), 3)
    0.212
    """
    return float(np.sqrt((1 + found**2 / 2) / (n - 3)))


def fisher_z(correlation: float | Array) -> Array:
    """Fisher's z, which is finite for perfect correlations too.

    >>> round(float(fisher_z(0.5)), 3), float(fisher_z(1.0)) > 10
    (0.549, True)
    """
    z: Array = np.arctanh(np.clip(correlation, -1 + 1e-9, 1 - 1e-9))
    return z


def spearman_draws(first: Array, second: Array, rounds: int) -> Array:
    """Spearman's correlation in ``rounds`` bootstrap samples of the pairs; NaN where one side is constant.

    >>> spearman_draws(np.arange(9.0), np.arange(9.0) ** 3, rounds=4).round(6).tolist()
    [1.0, 1.0, 1.0, 1.0]
    """
    drawn = bootstrap_indices(len(first), rounds)
    blocks = [drawn[i : i + BLOCK] for i in range(0, rounds, BLOCK)]
    ranks = [(rankdata(first[b], axis=1)[:, :, None], rankdata(second[b], axis=1)) for b in blocks]
    return np.concatenate([correlate(*pair)[:, 0] for pair in ranks])


def _with_interval(name: str, values: Array, draws: Array, n: int) -> dict[str, object]:
    ends = [percentile_interval(draws[:, i], n) for i in range(len(values))]
    return {name: values, f"{name}_low": [low for low, _ in ends], f"{name}_high": [high for _, high in ends]}
