"""Names of the files, columns and states of a study directory.

`inat` writes study directories and `analysis` reads them. Both import the names from this module. `analysis` imports
nothing from `inat`, so a study can be read without torch and Ray.
"""

from typing import Final

# Metrics of one epoch: reported to Tune, written to history.csv, logged to W&B.
TRAIN_LOSS: Final = "train_loss"
TRAIN_ACC: Final = "train_acc"
VAL_LOSS: Final = "val_loss"
VAL_ACC: Final = "val_acc"
EPOCH: Final = "epoch"
SECONDS: Final = "seconds"
BEST_VAL_ACC: Final = "best_val_acc"

# The same, of a study with --folds or --repeats, whose trials train several times.
FOLD: Final = "fold"  # number of the training, from 1 on
FOLD_BEST: Final = "fold_best"  # best value of this training so far
FOLDS_DONE: Final = "folds_done"  # trainings that have ended
STANDARD_ERROR: Final = "standard_error"  # of the mean over the trainings that have ended

# States of a trial.
RUNNING: Final = "running"
COMPLETED: Final = "completed"
STOPPED: Final = "stopped"
FAILED: Final = "failed"
STATES: Final = (RUNNING, COMPLETED, STOPPED, FAILED)

# Files.
STUDY_JSON: Final = "study.json"
TRIALS_CSV: Final = "trials.csv"
HISTORY_CSV: Final = "history.csv"
BEST_JSON: Final = "best.json"
FINAL_DIR: Final = "final"
METRICS_JSON: Final = "metrics.json"

# Keys of study.json.
GRID: Final = "grid"  # all configurations of a grid search; empty for other searches

# Columns. In trials.csv the hyperparameters stand between the columns "before" and "after".
TRIAL_ID: Final = "trial_id"
NAME: Final = "name"
STATE: Final = "state"
TRAINABLE: Final = "trainable_parameters"
EPOCHS: Final = "epochs"
CREATED: Final = "created"
NODE: Final = "node"
ERROR: Final = "error"
TRIAL_COLUMNS_BEFORE: Final = (TRIAL_ID, NAME, STATE)
TRIAL_COLUMNS_AFTER: Final = (BEST_VAL_ACC, TRAINABLE, EPOCHS, SECONDS, CREATED, NODE, ERROR)
HISTORY_COLUMNS: Final = (TRIAL_ID, EPOCH, TRAIN_LOSS, TRAIN_ACC, VAL_LOSS, VAL_ACC, SECONDS)
# Columns that follow these in a study with --folds or --repeats.
FOLD_TRIAL_COLUMNS: Final = (STANDARD_ERROR, FOLDS_DONE)
FOLD_HISTORY_COLUMNS: Final = (FOLD,)

TEST: Final = "test"
