"""Compare ways to make squares of photos: all of the photo squashed, or its centre cut out as published.

    python benchmarks/resize.py --data taxa_photos --weights-dir weights --sizes 64 128 224

For each network and size, the frozen network computes features of all photos in each form, and a logistic regression is
cross-validated on them, with the same folds for every form. Accuracies in percent, mean over folds and repeats, with
the standard error over repeats; "gain" is crop minus squash of the same folds. Then what squashing changes in the
network itself: the share of photos to which the published network, with its own head, gives another class than to the
cropped photo.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import tyro
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import RepeatedStratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torchvision.models import get_model

from inat.config.backbones import backbone_facts
from inat.data.augment import normalise, scale_to_one
from inat.data.decode import Resize, read_image
from inat.data.image_files import ImageFiles
from inat.data.layouts import list_folders
from inat.models.backbones import build_backbone
from inat.models.weights import find_weights, load_weights

BATCH = 64
FOLDS = 5


@dataclass(frozen=True, kw_only=True)
class Options:
    """Ways to make squares of photos."""

    data: Path
    """Folder of photos."""
    weights_dir: Path | None = None
    """Folder with a file BACKBONE.pth per backbone."""
    backbone: str = "mobilenet_v2"
    """Network of torchvision."""
    sizes: tuple[int, ...] = (64, 128, 224)
    """Sides of the squares in pixels."""
    repeats: int = 3
    """How often the folds are drawn."""


def forms(backbone: str, size: int) -> dict[str, Resize]:
    """The forms to compare."""
    facts = backbone_facts(backbone)
    shorter = size * facts.resize_size // facts.image_size
    return {"squash": Resize(size), "crop": Resize(size, shorter), "crop 7/8": Resize(size, size * 8 // 7)}


def main(options: Options) -> None:
    """Print a table per size and the result line."""
    part = list_folders(options.data).development
    labels = np.array(part.labels)
    state = load_weights(find_weights(options.backbone, options.weights_dir).path)
    results = {}
    for size in options.sizes:
        scores, classes = {}, {}
        for name, form in forms(options.backbone, size).items():
            images = decoded(part, form)
            features, classes[name] = outputs(options.backbone, state, images, size)
            scores[name] = accuracies(features, labels, options.repeats)
            print(f"{size} px, {name}: {scores[name].mean():.2f} +- {standard_error(scores[name]):.2f} %", flush=True)
        gain = scores["crop"] - scores["squash"]
        changed = 100 * np.mean(classes["crop"] != classes["squash"])
        results[f"gain_{size}"] = f"{gain.mean():.2f}+-{standard_error(gain):.2f}"
        results[f"other_class_{size}"] = f"{changed:.1f}%"
    print(f"result: n={len(labels)} repeats={options.repeats}", *(f"{name}={value}" for name, value in results.items()))


def decoded(part: ImageFiles, form: Resize) -> NDArray[np.uint8]:
    """All photos (N, size, size, 3)."""
    return np.stack([form(read_image(part.root / file.path)) for file in part.files])


def outputs(
    backbone: str, state: dict[str, torch.Tensor], images: NDArray[np.uint8], size: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Features (N, channels) of the body, and the classes (N,) that the published head gives."""
    network = build_backbone(backbone, 1000, image_size=size, state_dict=state).eval()
    network.get_submodule("head.linear").load_state_dict(published_head(backbone, state))
    network.freeze(len(network) - 1)
    features, classes = [], []
    with torch.inference_mode():
        for start in range(0, len(images), BATCH):
            batch = torch.from_numpy(images[start : start + BATCH]).permute(0, 3, 1, 2)
            found = network.prefix()(normalise(scale_to_one(batch)))
            features.append(found)
            classes.append(network.suffix()(found).argmax(1))
    return torch.cat(features).numpy(), torch.cat(classes).numpy()


def published_head(backbone: str, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Weight and bias of the last layer of the published network."""
    model = get_model(backbone, weights=None)
    key = [name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)][-1]
    return {name: state[f"{key}.{name}"] for name in ("weight", "bias")}


def accuracies(features: NDArray[np.float32], labels: NDArray[np.int64], repeats: int) -> NDArray[np.float64]:
    """Percent correct, one value per repeat."""
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=500))
    folds = RepeatedStratifiedKFold(n_splits=FOLDS, n_repeats=repeats, random_state=0)
    scores = cross_val_score(model, features, labels, cv=folds)
    means: NDArray[np.float64] = 100 * np.asarray(scores).reshape(repeats, FOLDS).mean(1)
    return means


def standard_error(values: NDArray[np.float64]) -> float:
    """Of the mean over repeats."""
    return float(values.std(ddof=1) / np.sqrt(len(values)))


if __name__ == "__main__":
    main(tyro.cli(Options))
