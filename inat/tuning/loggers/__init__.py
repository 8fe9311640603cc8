"""Who is told of a trial's progress: the study, study.db, W&B, TensorBoard, the terminal."""
