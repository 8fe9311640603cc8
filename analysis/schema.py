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
VAL_BALANCED_ACC: Final = "val_balanced_acc"  # mean of the classes' recalls
VAL_MACRO_F1: Final = "val_macro_f1"
VAL_TOP2_ACC: Final = "val_top2_acc"
EPOCH: Final = "epoch"
STEP: Final = "step"  # what a curve counts that does not count epochs
SECONDS: Final = "seconds"
BEST_PREFIX: Final = "best_"  # of a metric's name: its best value so far, in the column of the study's objective
BEST_VAL_ACC: Final = "best_val_acc"

# The same, of a study with --folds or --repeats, whose trials train several times.
FOLD: Final = "fold"  # number of the training, from 1 on
FOLD_BEST: Final = "fold_best"  # best value of this training so far
FOLDS_DONE: Final = "folds_done"  # trainings that have ended
STANDARD_ERROR: Final = "standard_error"  # of the mean over the trainings that have ended

# Of the first epoch of a training, in the journal only: seconds before it, in which a trial opens images, computes
# the features of frozen layers or waits for them, and reads weights. ``seconds`` does not have them.
PREPARATION: Final = "preparation_seconds"

# Of the row, in the journal only, after which ASHA would have stopped a control trial.
WOULD_STOP: Final = "would_stop"

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
PREDICTIONS_JSON: Final = "validation_predictions.json"  # of best.ckpt: its confusions and most confident mistakes
FINAL_DIR: Final = "final"
METRICS_JSON: Final = "metrics.json"
JOURNAL: Final = "journal.jsonl"
CHECKPOINTS_DIR: Final = "checkpoints"  # a folder per trial
ANSWERS_JSON: Final = "answers.json"  # beside a checkpoint: which validation images the trial had right
LAST_DIR: Final = "last"  # in a study with a time plan: the study of its last training

# Files about the images of a study, in the folder DATA_DIR, with their columns and values.
DATA_DIR: Final = "data"
SPLITS_CSV: Final = "splits.csv"
SKIPPED_CSV: Final = "skipped.csv"
DUPLICATES_CSV: Final = "duplicates.csv"
COPIES_JPG: Final = "duplicates.jpg"
PATH: Final = "path"
CLASS: Final = "class"
SPLIT: Final = "split"
GROUP: Final = "group"
REASON: Final = "reason"
COPY_SET: Final = "set"
COPY_KIND: Final = "kind"
SAME_FILE: Final = "same file"
SAME_PIXELS: Final = "same pixels"
NEAR_COPY: Final = "near copy"
LEFT_OUT: Final = "left out"  # of every split, beside copies or a group in another one

# The probes of a study that began with a race of backbones, with its columns.
BACKBONES_CSV: Final = "backbones.csv"
BACKBONE: Final = "backbone"
PROBE_VALUE: Final = "linear_probe"
PROBE_LOW, PROBE_HIGH = "probe_low", "probe_high"  # the 95 % interval
NEIGHBOUR_VALUE: Final = "nearest_neighbours"
PROBE_COLUMNS: Final = (
    BACKBONE, "image_size", "parameters", NEIGHBOUR_VALUE, PROBE_VALUE, PROBE_LOW, PROBE_HIGH, "penalty",
    "feature_seconds", "solve_seconds",
)  # fmt: skip

# Keys of study.json.
RACE: Final = "race"  # how a race chose the backbones; absent without one
METRIC: Final = "metric"  # in "config": the name of the objective; accuracy in studies of earlier versions
CLASS_COUNTS: Final = "class_counts"  # images of each class in each split, in the order of the classes
RECIPE_PARAMS: Final = "recipe_params"  # the hyperparameters of the recipe around which the space lies
COMPARED_SIZES: Final = "compared_sizes"  # in a time plan: one object per image size that was compared
TIME_PLAN: Final = "time_plan"  # what a search with a time budget planned: numbers and texts by name
VALIDATION_NOISE: Final = "validation_noise"  # in best.json: how many trials cannot be told from the best one
PARETO_FRONT: Final = "pareto_front"  # in best.json: the trials of which no cheaper one is as good, the best one first
# In best.json, if its trial is not the best one: the better trial whose place it took because it costs less, that
# trial's value, and how much worse a cheaper one may be.
CHEAPER_THAN: Final = "cheaper_than"
LAST_OF: Final = "last_of"  # in study.json of the last training: the trial of the search that it trains again
REFIT: Final = "refit"  # of a last training on the validation photos, too: true in its study.json, a dict in best.json
LAST_TRAINING: Final = "last_training"  # in best.json: true if its weights and values are those of the last training
COMPARED_AT: Final = "compared_at"  # at what trials are compared: RECIPE_EPOCH; absent where it is their epochs
RECIPE_EPOCH: Final = "recipe_epoch"  # the cost of an epoch of the recipe
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
# The first of them is the best value of the study's objective, here of the accuracy.
TRIAL_COLUMNS_AFTER: Final = (BEST_VAL_ACC, TRAINABLE, EPOCHS, SECONDS, CREATED, NODE, ERROR)
EARLIER_HISTORY_COLUMNS: Final = (TRIAL_ID, EPOCH, TRAIN_LOSS, TRAIN_ACC, VAL_LOSS, VAL_ACC, SECONDS)
# New columns come last, so that programs that read columns by position still work.
HISTORY_COLUMNS: Final = (*EARLIER_HISTORY_COLUMNS, VAL_BALANCED_ACC, VAL_MACRO_F1, VAL_TOP2_ACC)
# Columns that follow these in a study with --folds or --repeats.
FOLD_TRIAL_COLUMNS: Final = (STANDARD_ERROR, FOLDS_DONE)
# The last columns of trials.csv in a study that has control trials, which ASHA does not stop: 1 for these trials, and
# the epoch after which ASHA would have stopped them.
CONTROL: Final = "control_trial"
STOP_EPOCH: Final = "asha_stop_epoch"
CONTROL_TRIAL_COLUMNS: Final = (CONTROL, STOP_EPOCH)
FOLD_HISTORY_COLUMNS: Final = (FOLD,)
# The last column of trials.csv in a study whose trials are compared at equal cost: what an epoch of the trial costs, in
# epochs of the recipe.
EPOCH_COST: Final = "epoch_cost"
OWN_EPOCHS: Final = "own_epochs"  # of such a trial once it is loaded, when its epochs are those of the recipe

CONSTANT_ACC: Final = "constant_accuracy"  # beside an accuracy: that of always answering the largest training class

TRAIN: Final = "train"
VAL: Final = "val"
TEST: Final = "test"
