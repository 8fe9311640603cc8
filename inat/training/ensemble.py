"""Use the ensemble that inat.finalize has chosen: several classifiers whose probabilities are averaged."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from analysis.files import read_json
from inat.config.validation import expanded
from inat.constants import ENSEMBLE_DIR, ENSEMBLE_JSON, FINAL_DIR
from inat.data.decode import Resize
from inat.errors import StudyError
from inat.training.inference import Images, Model, open_model

FORMAT = 1  # of ENSEMBLE_JSON
MAX_MEMBERS = 5  # each costs a forward pass per image


@dataclass(frozen=True, slots=True)
class Ensemble:
    """Models with the same classes, and their ``weights``, whose sum is 1."""

    models: tuple[Model, ...]
    weights: tuple[float, ...]

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of the confidences."""
        return self.models[0].classes

    @property
    def device(self) -> torch.device:
        """The device that computes."""
        return self.models[0].device

    @property
    def batch_size(self) -> int:
        """The smallest batch in the training of a member."""
        return min(model.batch_size for model in self.models)

    @property
    def forms(self) -> tuple[Resize, ...]:
        """The forms in which the members need an image, each once: the members may differ in the size of images."""
        return tuple(dict.fromkeys(model.form for model in self.models))

    def classify(self, images: Images) -> NDArray[np.float32]:
        """The mean (B, classes) of the members' confidences, each for the images in its own form."""
        parts = [weight * model.classify(images) for weight, model in zip(self.weights, self.models, strict=True)]
        mean: NDArray[np.float32] = np.sum(parts, axis=0, dtype=np.float32)
        return mean


def open_ensemble(path: Path, device: torch.device | None = None) -> Ensemble:
    """Load the ensemble of a study directory, or of its final/ directory.

    ``device`` is by default the GPU if there is one. Raises StudyError if there is no ensemble, or if it is damaged.

    >>> ensemble = open_ensemble(Path("final"))
    >>> ensemble.weights, [form.size for form in ensemble.forms]
    ((0.75, 0.25), [16])
    >>> ensemble.classify({ensemble.forms[0]: np.zeros((1, 16, 16, 3), np.uint8)}).shape
    (1, 10)
    """
    file = ensemble_file(path)
    members = _members(file)
    models = tuple(open_model(file.parent / name, device) for name, _ in members)
    for (name, _), model in zip(members, models, strict=True):
        if model.classes != models[0].classes:
            raise StudyError(
                f"{file.parent / name} has other classes than {members[0][0]} beside it, so their probabilities have "
                "no mean; run inat.finalize again"
            )
    total = sum(weight for _, weight in members)
    return Ensemble(models, tuple(weight / total for _, weight in members))


def ensemble_file(path: Path) -> Path:
    """The file that lists the members; raises StudyError if there is none in ``path`` or in its final/ directory.

    >>> ensemble_file(Path("final"))
    PosixPath('final/ensemble/ensemble.json')
    """
    path = expanded(path)
    for folder in (path / FINAL_DIR / ENSEMBLE_DIR, path / ENSEMBLE_DIR, path):
        if (folder / ENSEMBLE_JSON).is_file():
            return folder / ENSEMBLE_JSON
    raise StudyError(
        f"{path} has no ensemble; pass a study directory or its final/ directory after inat.finalize has chosen one"
    )


def _members(file: Path) -> list[tuple[str, float]]:
    """The names of the members' checkpoints in the folder of ``file``, and their positive weights."""
    try:
        content: dict[str, Any] = read_json(file)
        members = [(str(member["file"]), float(member["weight"])) for member in content["members"]]
        names = all(Path(name).name == name and Path(name).suffix == ".ckpt" for name, _ in members)
        usable = members and names and all(0 < weight < math.inf for _, weight in members)
        newer = content["format"] != FORMAT
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise StudyError(f"{file} is damaged ({type(error).__name__}: {error}); run inat.finalize again") from error
    if newer or not usable:
        why = "another version of this program wrote it" if newer else "its members have no names or no weights"
        raise StudyError(f"{file} cannot be used: {why}; run inat.finalize again")
    if len(members) > MAX_MEMBERS:
        raise StudyError(f"{file} has {len(members)} members, more than {MAX_MEMBERS}; run inat.finalize again")
    return members
