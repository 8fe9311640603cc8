"""Choosing what to try next, and what the sampler learns from a trial; only this package uses Optuna's internals."""
