"""From a study to a model: retrain the best configurations, choose one, test it once, write it with a model card."""
