"""What a plan must know of the photos before they are decoded: how many, how large, and how long decoding takes."""

import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from PIL import Image

from inat.config.trial import SHIFT, DataConfig
from inat.constants import DIGITS, TEST, VAL
from inat.data import digits
from inat.data.decode import Resize, form_of, read_image
from inat.data.image_files import ImageFiles, Listing
from inat.data.image_store import store_directory
from inat.data.listing import list_data
from inat.data.splits import DIGITS_TEST_SHARE
from inat.data.torchvision_data import reader
from inat.tuning.budget.costs import ImageCounts

SAMPLE: Final = 40  # photos that are read
SAMPLE_SECONDS: Final = 2.0
DIGITS_SIDE: Final = 8  # px


@dataclass(frozen=True, slots=True)
class Missing:
    """What the cache lacks: how many images have to be decoded, and the bytes of their copies."""

    images: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Photos:
    """How many there are, their typical shorter side in pixels, the seconds to decode one, and their ``parts``.

    The first part has the images that training ones are drawn from.
    """

    counts: ImageCounts
    side: int
    decode: float
    parts: tuple[ImageFiles, ...] = ()

    def missing(self, config: DataConfig) -> Missing:
        """What has to be decoded for trials of ``config``; with augmentation, also the larger copies for its crops."""
        images = size = 0
        for index, part in enumerate(self.parts):
            forms = [form_of(config)]
            if index == 0 and config.use_augmentation and config.policy != SHIFT:
                forms.append(Resize(config.crop_size))
            cache = Path(config.cache_dir)
            sides = [form.size for form in forms if not store_directory(part, form, cache).exists()]
            images += len(part.files) if sides else 0  # which are read once for all copies
            size += len(part.files) * sum(3 * side**2 for side in sides)
        return Missing(images, size)

    def decode_seconds(self, missing: Missing, cores: int) -> float:
        """Seconds until the ``missing`` images are decoded."""
        return missing.images * self.decode / cores


def look_at_photos(config: DataConfig) -> Photos:
    """Count the photos of ``config`` and read a few of them; raises DataError as a search would."""
    if config.data == DIGITS:
        test = round(DIGITS_TEST_SHARE * digits.COUNT)
        val = round(config.val_share * (digits.COUNT - test))
        return Photos(ImageCounts(train=digits.COUNT - test - val, val=val, test=test), DIGITS_SIDE, 0.0)
    listing = list_data(config)
    side, seconds = _sample(listing.development)
    return Photos(count_images(listing, config), side, seconds, listing.parts)


def count_images(listing: Listing, config: DataConfig) -> ImageCounts:
    """About how many images each split will have: copies and unreadable photos count as well."""
    development = len(listing.development.labels)
    if listing.test is not None:
        test = len(listing.test.labels)
    else:
        test = listing.roles.count(TEST) or round(config.test_fraction * development)
        development -= test
    val = listing.roles.count(VAL) or round(config.val_share * development)
    return ImageCounts(train=max(1, development - val), val=val, test=test)


def _sample(files: ImageFiles) -> tuple[int, float]:
    """The median of the shorter sides of some photos, and of the seconds to decode one."""
    sides: list[int] = []
    seconds: list[float] = []
    started = time.perf_counter()
    count = len(files.labels)
    for index in range(0, count, max(1, count // SAMPLE)):
        before = time.perf_counter()
        if before - started > SAMPLE_SECONDS and sides:
            break
        try:
            sides.append(min(_read(files, index).size))
        except Exception:  # whatever Pillow raises for a broken file; the search will say which photos are broken
            continue
        seconds.append(time.perf_counter() - before)
    return (round(statistics.median(sides)), statistics.median(seconds)) if sides else (DIGITS_SIDE, 0.0)


def _read(files: ImageFiles, index: int) -> Image.Image:
    return reader(files)(index) if files.source else read_image(files.root / files.files[index].path)
