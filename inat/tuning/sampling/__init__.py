"""What to try next and what is learned from a trial; the only package that uses Optuna's private API."""
