"""The features that a trial reads: which files of the cache, how large they are, and how to make them smaller."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from analysis.wording import join_words
from inat.config.backbones import FREEZE_ALL, BackboneConfig
from inat.config.trial import TrialConfig
from inat.data.splits import Split
from inat.models.stages import StagedNetwork

FLOAT32, FLOAT16 = "float32", "float16"  # torch's names
SMALLER = 2  # the feature rules from which on features that are too large are kept in a smaller form


@dataclass(frozen=True, slots=True)
class FeaturePart:
    """The features of one split in one view; view None is the images without augmentation.

    ``stored`` are the images whose features are in ``directory``; with folds, they are more than those of ``split``.
    """

    name: str
    split: Split
    stored: Split
    view: int | None
    directory: Path

    @property
    def features_rows(self) -> NDArray[np.int64] | None:
        """Where the images of the split are among the stored ones; None if these are the same."""
        return None if self.stored is self.split else np.searchsorted(self.stored.rows, self.split.rows)


@dataclass(frozen=True, slots=True)
class FeaturePlan:
    """The features that a trial reads instead of images: each view of the training split, then the validation split.

    The trials of this process share ``network``. ``image_bytes`` and ``dtype`` are of the stored features of one image,
    ``computed`` is the type that the frozen stages return and trials train on. ``views`` is the number of views.
    """

    config: TrialConfig
    network: StagedNetwork
    parts: tuple[FeaturePart, ...]
    image_bytes: int
    dtype: str
    computed: str
    views: int

    @property
    def directory(self) -> Path:
        """The cache folder."""
        return self.parts[0].directory.parent

    @property
    def bytes(self) -> int:
        """Size of all features."""
        return self._bytes_of(self.parts)

    @property
    def missing_bytes(self) -> int:
        """Size of the features that have not been computed yet."""
        return self._bytes_of(part for part in self.parts if not part.directory.exists())

    def _bytes_of(self, parts: Iterable[FeaturePart]) -> int:
        images = {part.directory: len(part.stored) for part in parts}
        return sum(images.values()) * self.image_bytes


def why_not_kept(config: TrialConfig) -> str:
    """What of the training alters images, so that features of its frozen stages cannot be kept; "" if nothing does.

    Mixup of a training of the head alone mixes features (feature rules 2): they are the input of one linear layer.
    """
    optim, model = config.optim, config.model
    mixes_features = (
        isinstance(model, BackboneConfig)  # the head of a user's network may be more than one linear layer
        and model.feature_rules >= SMALLER
        and model.strategy == FREEZE_ALL
    )
    altering = {"mixup": optim.mixup_alpha and not mixes_features, "CutMix": optim.cutmix_alpha,
                "random erasing": optim.random_erasing}  # fmt: skip
    return join_words([name for name, value in altering.items() if value])


def smaller_forms(views: int, computed: str) -> Iterator[tuple[int, str]]:
    """The numbers of views and types to store features in, the best first.

    16 bit come before fewer views: they cost no accuracy (benchmarks/kept_views.py).

    >>> list(smaller_forms(3, "float32"))
    [(3, 'float32'), (3, 'float16'), (2, 'float16'), (1, 'float16')]
    >>> list(smaller_forms(2, "bfloat16"))
    [(2, 'bfloat16'), (1, 'bfloat16')]
    """
    stored = FLOAT16 if computed == FLOAT32 else computed
    yield views, computed
    if stored != computed:
        yield views, stored
    yield from ((fewer, stored) for fewer in range(views - 1, 0, -1))
