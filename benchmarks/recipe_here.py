"""The recipe for given images, and the settings of trainings on them; for the benchmarks of accuracy."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from photo_subset import link_some_photos


@dataclass(frozen=True, slots=True)
class Images:
    """A folder of photos, and how trainings see them; with ``whole``, they train on the validation photos, too."""

    data: Path
    image_size: int
    cache_dir: Path
    whole: bool = False

    def part(self, count: int, folder: Path) -> Self:
        """``count`` of the photos, which are linked and decoded into ``folder``; 0 means all photos."""
        data = self.data.resolve()
        if not count:
            return type(self)(data, self.image_size, self.cache_dir, self.whole)
        linked = link_some_photos(data, count, folder / "photos")
        return type(self)(linked, self.image_size, folder / "cache", self.whole)

    @property
    def settings(self) -> dict[str, Any]:
        """The settings of the images of a training."""
        return {"data": str(self.data), "image_size": self.image_size, "cache_dir": str(self.cache_dir),
                "train_on_val": self.whole}  # fmt: skip


def recipe_params(images: Images, epochs: int, *, wanted: bool = True) -> dict[str, Any]:
    """The hyperparameters of the recipe for ``images``, which are decoded here; {} if the recipe is not ``wanted``."""
    from inat.config.trial import DataConfig
    from inat.data.splits import load_splits

    splits = load_splits(DataConfig(**images.settings))
    print(f"{len(splits.train)} training, {len(splits.val)} validation and {len(splits.test)} test images")
    if not wanted:
        return {}
    from inat.tuning.space.scratch_recipe import scratch_recipe

    params = scratch_recipe(
        image_size=images.image_size, images=len(splits.train), classes=len(splits.classes), epochs=epochs
    )
    print(f"recipe: {json.dumps(params)}")
    return params
