"""Receivers of the progress of trials: the study, study.db, W&B, TensorBoard, the terminal."""
