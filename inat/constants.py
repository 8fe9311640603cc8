"""Names that cross module borders, each written once: metrics, states, file names, columns."""

from pathlib import Path
from typing import Final

# Metrics of one epoch, as reported to Tune, written to history.csv and logged to W&B.
TRAIN_LOSS: Final = "train_loss"
TRAIN_ACC: Final = "train_acc"
VAL_LOSS: Final = "val_loss"
VAL_ACC: Final = "val_acc"
EPOCH: Final = "epoch"
SECONDS: Final = "seconds"

# The one objective: ASHA, the searcher, the choice of checkpoints and the analysis all use it.
BEST_VAL_ACC: Final = "best_val_acc"
METRIC: Final = BEST_VAL_ACC
MODE: Final = "max"

EPOCHS_BEFORE: Final = "epochs_before"  # rows of earlier epochs that travel with a report

# Why a trial ended by itself; reported with its last epoch.
FINISHED: Final = "finished"
MICRO_BATCH: Final = "micro_batch"  # reported where the GPU is too small for a whole batch
NOTE: Final = "note"  # anything else the user should know of how a trial was trained
TRAINABLE: Final = "trainable_parameters"
MAX_EPOCHS_REACHED: Final = "max_epochs"
OUT_OF_PATIENCE: Final = "patience"
DIVERGED: Final = "diverged"

# Trial states.
RUNNING: Final = "running"
COMPLETED: Final = "completed"
STOPPED: Final = "stopped"
FAILED: Final = "failed"
STATES: Final = (RUNNING, COMPLETED, STOPPED, FAILED)

SEARCH_KIND: Final = "search"  # in study.json: scratch or finetune

# Files of a study directory.
STUDY_JSON: Final = "study.json"
JOURNAL: Final = "journal.jsonl"
TRIALS_CSV: Final = "trials.csv"
HISTORY_CSV: Final = "history.csv"
STUDY_DB: Final = "study.db"
BEST_JSON: Final = "best.json"
BEST_CKPT: Final = "best.ckpt"
LAST_CKPT: Final = "last.ckpt"
CHECKPOINTS_DIR: Final = "checkpoints"
ERRORS_DIR: Final = "errors"
HANG_SUFFIX: Final = ".hang.txt"
RAY_DIR: Final = "ray"
TENSORBOARD_DIR: Final = "tensorboard"
LOCK_FILE: Final = ".lock"

# What inat.finalize makes of a study.
FINAL_DIR: Final = "final"
RETRAINING_DIR: Final = "retraining"
SHIPPING_DIR: Final = "shipping"
MODEL_CKPT: Final = "model.ckpt"
SHIPPED_CKPT: Final = "shipped.ckpt"
METRICS_JSON: Final = "metrics.json"
MODEL_CARD: Final = "MODEL_CARD.md"
PREDICTIONS_CSV: Final = "predictions.csv"
CLASSES_CSV: Final = "classes.csv"
CONFUSION_CSV: Final = "confusion.csv"
CONFUSION_PNG: Final = "confusion.png"
RELIABILITY_PNG: Final = "reliability.png"
TESTS_DIR: Final = "tests"  # what each tested model said of the test split
TEST_LOGITS: Final = "test_logits.npz"  # the same of the last one only, as it was kept before

CACHE_DIR: Final = Path.home() / ".cache" / "inat"  # where decoded photographs are kept unless the user says otherwise

# Files of a photo store.
IMAGES_NPY: Final = "images.npy"
LABELS_NPY: Final = "labels.npy"
ASPECTS_NPY: Final = "aspects.npy"
NAMES_JSON: Final = "names.json"
SKIPPED_CSV: Final = "skipped.csv"
MANIFEST_JSON: Final = "manifest.json"
FEATURES_NPY: Final = "features.npy"  # of a feature store

# Columns. The parameters of the search stand between the two groups of trials.csv.
TRIAL_ID: Final = "trial_id"
NAME: Final = "name"
STATE: Final = "state"
EPOCHS: Final = "epochs"
RUNG: Final = "rung"
CREATED: Final = "created"
NODE: Final = "node"
ERROR: Final = "error"
TRIAL_COLUMNS_BEFORE: Final = (TRIAL_ID, NAME, STATE)
TRIAL_COLUMNS_AFTER: Final = (BEST_VAL_ACC, TRAINABLE, EPOCHS, SECONDS, CREATED, NODE, ERROR)
HISTORY_COLUMNS: Final = (TRIAL_ID, EPOCH, TRAIN_LOSS, TRAIN_ACC, VAL_LOSS, VAL_ACC, SECONDS)

DIGITS: Final = "digits"
TRAIN, VAL, TEST = "train", "val", "test"

# Channel statistics of ImageNet, the predecessor's normalisation; torchvision's published values.
IMAGENET_MEAN: Final = (0.485, 0.456, 0.406)
IMAGENET_STD: Final = (0.229, 0.224, 0.225)
