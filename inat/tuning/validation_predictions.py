"""What the best model of a search predicts on its validation images, for the report: confusions and mistakes."""

import io
import json
from base64 import b64encode
from collections import Counter
from pathlib import Path
from typing import Any, Final

from PIL import Image

from analysis.schema import PREDICTIONS_JSON
from inat.config.trial import DataConfig
from inat.constants import BEST_CKPT, CHECKPOINTS_DIR, REFIT, TRIAL_ID, VAL
from inat.study.atomic_io import atomic_write
from inat.study.checkpoint_file import is_intact
from inat.study.study import Study
from inat.tuning.best_json import SHA256, read_best

FORMAT = 1  # of the file; analysis.readers.predictions reads it
MISTAKES = 12  # the most confident ones
SIDE, QUALITY = 112, 70  # px of the longer side of a picture; of its JPEG
CHECKPOINT: Final = "checkpoint"  # in the file: the checksum of best.ckpt


def write_predictions(study: Study, data_config: DataConfig) -> Path | None:
    """Predict the validation images with best.ckpt and write validation_predictions.json; return its path.

    If best.ckpt is of a last training that learnt from these images, whose mistakes there say nothing, the weights of
    the trial that it repeats predict. Nothing is predicted again while best.ckpt is the same. Returns None without such
    weights. With folds, the images are those of the fold that trained the checkpoint. ``data_config``: see
    ``inat.training.evaluation.split_logits``.
    """
    weights, target = study.directory / BEST_CKPT, study.directory / PREDICTIONS_JSON
    best = read_best(study.directory)
    checksum = best.get(SHA256)
    if REFIT in best:
        weights = study.directory / CHECKPOINTS_DIR / str(best.get(TRIAL_ID)) / BEST_CKPT
    if checksum is None or not is_intact(weights):
        return None
    if target.exists() and _checkpoint_of(target) == checksum:
        return target
    content = _predict(weights, data_config)
    if content is None:
        target.unlink(missing_ok=True)
        return None
    atomic_write(target, json.dumps({"format": FORMAT, CHECKPOINT: checksum} | content) + "\n")
    return target


def _checkpoint_of(path: Path) -> Any:
    try:
        content = json.loads(path.read_bytes())
    except ValueError:
        return None
    return content.get(CHECKPOINT) if isinstance(content, dict) else None


def _predict(weights: Path, data_config: DataConfig) -> dict[str, Any] | None:
    from inat.training.evaluation import split_logits  # loads torch, which the search itself does without

    outputs = split_logits(weights, VAL, data_config)
    if outputs.data.train_on_val:
        return None
    confidences, predicted = outputs.logits.softmax(1).max(1)
    labels, wrong = outputs.labels, (predicted != outputs.labels).nonzero()[:, 0]
    first = wrong[confidences[wrong].argsort(descending=True, stable=True)[:MISTAKES]].tolist()
    cells = Counter(zip(labels.tolist(), predicted.tolist(), strict=True))
    pictures = _pictures(outputs.data, first)
    return {
        "images": len(labels), "fold": outputs.data.fold + 1 if outputs.data.folds else 0,
        "classes": list(outputs.classes), "errors": len(wrong),
        "confusion": [[true, answer, count] for (true, answer), count in sorted(cells.items())],
        "mistakes": [
            {"name": name, "true": int(labels[row]), "predicted": int(predicted[row]),
             "confidence": round(float(confidences[row]), 4), "picture": picture}
            for row, (name, picture) in zip(first, pictures, strict=True)
        ],
    }  # fmt: skip


def _pictures(config: DataConfig, positions: list[int]) -> list[tuple[str, str]]:
    """The name and a small JPEG in base64 of each image: of its file, or if that is gone, as it is stored."""
    from inat.data.originals import read_originals
    from inat.data.splits import load_splits

    val = load_splits(config).val
    found = []
    for position, original in zip(positions, read_originals(config, positions, VAL), strict=True):
        image = original.image or Image.fromarray(val.images[val.rows[position]])
        image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
        if max(image.size) < SIDE:  # a digit has 8 x 8 pixels, which are to be seen
            factor = SIDE // max(image.size)
            image = image.resize((factor * image.width, factor * image.height), Image.Resampling.NEAREST)
        buffer = io.BytesIO()
        image.convert("RGB").save(buffer, format="JPEG", quality=QUALITY)
        found.append((original.name, b64encode(buffer.getvalue()).decode()))
    return found
