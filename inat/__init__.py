"""Hyperparameter search for image classifiers: data, models, training and the Ray Tune search over them."""
