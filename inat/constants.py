"""Names that several modules use, each written once; the names of the study directory come from `analysis.schema`."""

import os
from pathlib import Path
from typing import Final

from analysis.schema import (
    ANSWERS_JSON,
    BACKBONES_CSV,
    BEST_JSON,
    BEST_VAL_ACC,
    CHEAPER_THAN,
    CHECKPOINTS_DIR,
    CLASS_COUNTS,
    COMPARED_AT,
    COMPARED_SIZES,
    COMPLETED,
    CONSTANT_ACC,
    CONTROL,
    CONTROL_TRIAL_COLUMNS,
    CREATED,
    DATA_DIR,
    EARLIER_HISTORY_COLUMNS,
    EPOCH,
    EPOCH_COST,
    EPOCHS,
    ERROR,
    FAILED,
    FINAL_DIR,
    FOLD,
    FOLD_BEST,
    FOLD_HISTORY_COLUMNS,
    FOLD_TRIAL_COLUMNS,
    FOLDS_DONE,
    GRID,
    HISTORY_COLUMNS,
    HISTORY_CSV,
    JOURNAL,
    LAST_DIR,
    LAST_OF,
    LAST_TRAINING,
    METRIC,
    METRICS_JSON,
    NAME,
    NODE,
    PARETO_FRONT,
    PREPARATION,
    PROBE_COLUMNS,
    RACE,
    RECIPE_EPOCH,
    RECIPE_PARAMS,
    REFIT,
    RUNNING,
    SECONDS,
    SKIPPED_CSV,
    STANDARD_ERROR,
    STATE,
    STATES,
    STOP_EPOCH,
    STOPPED,
    STUDY_JSON,
    TEST,
    TIME_PLAN,
    TRAIN,
    TRAIN_ACC,
    TRAIN_LOSS,
    TRAINABLE,
    TRIAL_COLUMNS_AFTER,
    TRIAL_COLUMNS_BEFORE,
    TRIAL_ID,
    TRIALS_CSV,
    VAL,
    VAL_ACC,
    VAL_BALANCED_ACC,
    VAL_LOSS,
    VAL_MACRO_F1,
    VAL_TOP2_ACC,
    VALIDATION_NOISE,
    WOULD_STOP,
)

# What a trial reports besides its metrics.
EPOCHS_BEFORE: Final = "epochs_before"  # the rows of earlier epochs, if one report covers several epochs
FINISHED: Final = "finished"  # why the trial ended by itself; in the report of its last epoch
MICRO_BATCH: Final = "micro_batch"  # its size, if the GPU is too small for a whole batch
NOTE: Final = "note"  # what else the user should know about the training
MAX_EPOCHS_REACHED: Final = "max_epochs"
OUT_OF_PATIENCE: Final = "patience"
OUT_OF_TIME: Final = "time"
PLANNED_EPOCHS: Final = "planned_epochs"  # in study.json of a last training: about how many it was to have
DIVERGED: Final = "diverged"

RUNG: Final = "rung"  # number of ASHA's rungs that a trial reached; an attribute in study.db
SEARCH_KIND: Final = "search"  # in study.json: scratch or finetune

# Files of a study directory that only `inat` reads.
PRECISION_JSONL: Final = "precision.jsonl"  # the arithmetic of each network; also in the cache
STUDY_DB: Final = "study.db"
BEST_CKPT: Final = "best.ckpt"
LAST_CKPT: Final = "last.ckpt"
AHEAD_CKPT: Final = "ahead.ckpt"  # best.ckpt of a later epoch than the state that an attempt went on from
END_CKPT: Final = "end.ckpt"  # the whole state after the last epoch, from which a raised --max-epochs goes on
ERRORS_DIR: Final = "errors"
HANG_SUFFIX: Final = ".hang.txt"
MODEL_DIR: Final = "model"  # in a study: the file with the network of the user
RAY_DIR: Final = "ray"
RUN_YAML: Final = "run.yaml"  # the options that a study began with, for --config
RAISED: Final = "raised_epochs"  # in study.json: an entry for each time that --max-epochs was raised
OWN_OBJECTIVE: Final = "own_objective"  # in study.json: the name of a function that takes the place of the training
TENSORBOARD_DIR: Final = "tensorboard"
LOCK_FILE: Final = ".lock"

# Files that inat.finalize writes into FINAL_DIR.
RETRAINING_DIR: Final = "retraining"
SHIPPING_DIR: Final = "shipping"
MODEL_CKPT: Final = "model.ckpt"
SHIPPED_CKPT: Final = "shipped.ckpt"
ENSEMBLE_DIR: Final = "ensemble"  # the checkpoints of the ensemble's members
ENSEMBLE_JSON: Final = "ensemble.json"  # in ENSEMBLE_DIR: the members and their weights
VALIDATION_DIR: Final = "validation"  # logits on the validation split, one file per run
MODEL_CARD: Final = "MODEL_CARD.md"
PREDICTIONS_CSV: Final = "predictions.csv"
CLASSES_CSV: Final = "classes.csv"
CONFUSION_CSV: Final = "confusion.csv"
CONFUSION_PNG: Final = "confusion.png"
RELIABILITY_PNG: Final = "reliability.png"
TESTS_DIR: Final = "tests"  # logits on the test split, one file per tested model
TEST_LOGITS: Final = "test_logits.npz"  # the same, in the form of earlier versions, for the last tested model

_HOME: Final = os.path.expanduser("~")
# A container may run as a user whom nothing gives a home: then this name, which cannot be created, is in the errors.
HOME: Final = _HOME if os.path.isabs(_HOME) else "/no-home-folder"
CACHE_BELOW_HOME: Final = Path(".cache/inat")
CACHE_DIR: Final = HOME / CACHE_BELOW_HOME  # default folder of image and feature stores

# Files of an image store.
IMAGES_NPY: Final = "images.npy"
LABELS_NPY: Final = "labels.npy"
ASPECTS_NPY: Final = "aspects.npy"
NAMES_JSON: Final = "names.json"
MANIFEST_JSON: Final = "manifest.json"
THUMBNAILS_NPY: Final = "thumbnails.npy"
COPIES_NPZ: Final = "copies.npz"  # the copies among the images of one or two stores
FEATURES_NPY: Final = "features.npy"  # of a feature store

DIGITS: Final = "digits"
DIGITS_STEP: Final = 8  # the scans are 8 x 8, so the side of their images is a multiple of it
TORCHVISION: Final = "torchvision:"  # before the name of one of its data sets

# Mean and standard deviation of the channels of ImageNet, as torchvision publishes them.
SQUASH, CROP = "squash", "crop"  # ways to make a square of an image
BILINEAR, BICUBIC = "bilinear", "bicubic"
IMAGENET_MEAN: Final = (0.485, 0.456, 0.406)
IMAGENET_STD: Final = (0.229, 0.224, 0.225)
