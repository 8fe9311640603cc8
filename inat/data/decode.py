"""Read one image file of any format as an upright RGB image."""

import os
import stat
import struct
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from inat.config.trial import DataConfig
from inat.constants import BILINEAR
from inat.data.file_kinds import PHOTO_SUFFIXES, register_plugins, why_unreadable

StrPath = str | os.PathLike[str]

# Pillow's own limit; Pillow only warns up to twice that many. Pillow holds 4 bytes per pixel, and 8 while it rotates or
# converts an image, so this bounds the memory of decoding: 0.7 GB per core; 0.1 GB for images of 12 megapixels.
MAX_PIXELS = 89_478_485
# Formats that Pillow passes to another program: Ghostscript would run an EPS file, whatever the file's name ends in.
PROGRAMS = frozenset({"EPS"})
# The bytes 8 to 12 of a HEIF or AVIF file, behind "ftyp", and the ending that such a file should have.
HEIF_BRANDS = dict.fromkeys((b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1"), ".heic")
HEIF_BRANDS |= {b"avif": ".avif", b"avis": ".avif"}
ROWS_PER_CHUNK = 256
MAX_ASPECT = 8  # of images that are resized as a whole before the square in their centre is cut out
# Images that a thread decodes before it wakes the main thread, which then competes for the interpreter lock.
IMAGES_PER_TASK = 16


def read_image(path: StrPath) -> Image.Image:
    """Read the image at ``path``, upright, in mode RGB.

    Reads like torchvision's ImageFolder (the first frame of an animation, without transparency), but applies the EXIF
    orientation, and scales 16-bit grey to 8 bits, which Pillow would clip to white. Raises whatever Pillow's plugins
    raise for a broken file, or ValueError for a file that is no usable image.
    """
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise ValueError("not a regular file")  # reading a named pipe would wait for ever
    with _open(path) as image:
        if image.format in PROGRAMS:
            raise ValueError(f"{image.format} is a program that draws, which is not run")
        if image.width * image.height > MAX_PIXELS:
            raise ValueError(f"{image.width} x {image.height} pixels, more than the allowed {MAX_PIXELS:,}")
        image.load()
        _turn_upright(image)
        if image.mode == "F":
            raise ValueError("floating-point pixels, which have no defined white")
        if image.mode == "RGB":
            return image
        return _to_eight_bits(image) if image.mode.startswith("I") else image.convert("RGB")


def _open(path: StrPath) -> Image.Image:
    if (suffix := os.path.splitext(path)[1].lower()) in PHOTO_SUFFIXES:
        register_plugins()
        if reason := why_unreadable(suffix):
            raise ValueError(reason)  # Pillow would take the small preview in a RAW file for the photo
    try:
        return Image.open(path)
    except UnidentifiedImageError:
        with open(path, "rb") as file:
            start = file.read(12)
        if not (suffix := HEIF_BRANDS.get(start[8:12], "") if start[4:8] == b"ftyp" else ""):
            raise
        register_plugins()  # a HEIC photo whose name says otherwise
        if reason := why_unreadable(suffix):
            raise ValueError(reason) from None
        return Image.open(path)


def unreadable_reason(error: Exception, path: str) -> str:
    """Why ``read_image`` failed, in words and without the path, which callers print beside the reason."""
    text = getattr(error, "strerror", None) or str(error).replace(f" {path!r}", "")
    return text or type(error).__name__


@dataclass(frozen=True, slots=True)
class Resize:
    """How an image of any shape becomes a square of ``size`` px: the whole image squashed, or its centre.

    With a ``shorter_side``, the shorter side of the image is resized to that many pixels and the square is cut from the
    centre, as in the evaluation of most published networks. The pixels (size, size, 3) are equal to those of
    torchvision's ``Resize((size, size))``, or of its ``Resize(shorter_side)`` and ``CenterCrop(size)``, for images of
    Pillow.
    """

    size: int
    shorter_side: int = 0
    interpolation: str = BILINEAR

    @property
    def suffix(self) -> str:
        """The end of the name of a store of such images; it contains no dash."""
        parts = [f"crop{self.shorter_side}"] if self.shorter_side else []
        parts += [] if self.interpolation == BILINEAR else [self.interpolation]
        return "_".join([*parts, f"{self.size}px"])

    @property
    def recipe(self) -> str:
        """What has to be done with a photo, in words."""
        square = f"{self.size} x {self.size} px"
        if not self.shorter_side:
            return f"resize photos to {square}, {self.interpolation}"
        resized = f"resize the shorter side of photos to {self.shorter_side} px, {self.interpolation}"
        return f"{resized}, and cut out the central {square}"

    def __call__(self, image: Image.Image) -> NDArray[np.uint8]:
        method = Image.Resampling[self.interpolation.upper()]
        if not self.shorter_side:
            return np.asarray(image.resize((self.size, self.size), method))
        image = _without_far_ends(image)
        left, top, width, height = self._window(image)
        return np.asarray(image.resize((width, height), method).crop((left, top, left + self.size, top + self.size)))

    def _window(self, image: Image.Image) -> tuple[int, int, int, int]:
        """Left and top of the square in the resized image, then width and height of the resized image."""
        short, long = sorted(image.size)
        longer_side = int(self.shorter_side * long / short)  # rounded as in torchvision
        portrait = image.width <= image.height
        width, height = (self.shorter_side, longer_side) if portrait else (longer_side, self.shorter_side)
        return round((width - self.size) / 2.0), round((height - self.size) / 2.0), width, height


def form_of(config: DataConfig) -> Resize:
    """The form of the images that are not augmented."""
    return Resize(config.image_size, config.shorter_side, config.interpolation)


def _without_far_ends(image: Image.Image) -> Image.Image:
    """The middle of a panorama: resized as a whole, an image of 1 x 20,000 px would take gigabytes."""
    short, long = sorted(image.size)
    if long <= MAX_ASPECT * short:
        return image
    width, height = (min(side, MAX_ASPECT * short) for side in image.size)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))


def _turn_upright(image: Image.Image) -> None:
    # If the EXIF data is broken but the pixels are not, keep the pixels as they are stored.
    with suppress(ValueError, SyntaxError, KeyError, TypeError, OSError, struct.error):
        ImageOps.exif_transpose(image, in_place=True)


def _to_eight_bits(image: Image.Image) -> Image.Image:
    grey = np.asarray(image)
    if grey.min() < 0 or grey.max() > 0xFFFF:
        raise ValueError(f"grey values {grey.min()}..{grey.max()} are outside 16 bits")
    scaled = np.empty(grey.shape, np.uint8)
    for start in range(0, len(grey), ROWS_PER_CHUNK):
        rows = slice(start, start + ROWS_PER_CHUNK)
        scaled[rows] = (grey[rows].astype(np.int32) + 128) // 257
    return Image.fromarray(scaled).convert("RGB")
