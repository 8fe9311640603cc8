"""Read one photograph file, whatever is in it, as an upright RGB image."""

import os
import stat
import struct
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

StrPath = str | os.PathLike[str]

# Pillow's own limit, above which it only warns up to twice as many. Pillow holds 4 bytes a pixel, twice that while it
# turns or converts a photograph, so this bounds the memory of a build: 0.7 GB a core; 0.1 GB for 12 megapixels.
MAX_PIXELS = 89_478_485
ROWS_AT_ONCE = 256


def read_image(path: StrPath) -> Image.Image:
    """The photograph at ``path``, upright, in mode RGB.

    As torchvision's ImageFolder reads it (first frame of an animation, transparency dropped), but turned as its EXIF
    orientation says, and with 16-bit grey scaled to 8 bits where Pillow would clip it to white. Raises whatever
    Pillow's plugins raise on a broken file, or ValueError for what is no photograph.
    """
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise ValueError("not a regular file")  # a named pipe would be waited for, for ever
    with Image.open(path) as image:
        if image.width * image.height > MAX_PIXELS:
            raise ValueError(f"{image.width} x {image.height} pixels, more than the allowed {MAX_PIXELS:,}")
        image.load()
        _turn_upright(image)
        if image.mode == "F":
            raise ValueError("floating-point pixels, of which none is defined as white")
        if image.mode == "RGB":
            return image
        return _eight_bits(image) if image.mode.startswith("I") else image.convert("RGB")


def unreadable_reason(error: Exception, path: str) -> str:
    """What ``read_image`` raised, in words without the path, which stands beside them."""
    text = getattr(error, "strerror", None) or str(error).replace(f" {path!r}", "")
    return text or type(error).__name__


def resize(image: Image.Image, size: int) -> NDArray[np.uint8]:
    """(size, size, 3): the bytes of torchvision's ``Resize((size, size))``."""
    return np.asarray(image.resize((size, size), Image.Resampling.BILINEAR))


def _turn_upright(image: Image.Image) -> None:
    # Broken EXIF beside sound pixels: leave them as they are stored.
    with suppress(ValueError, SyntaxError, KeyError, TypeError, OSError, struct.error):
        ImageOps.exif_transpose(image, in_place=True)


def _eight_bits(image: Image.Image) -> Image.Image:
    grey = np.asarray(image)
    if grey.min() < 0 or grey.max() > 0xFFFF:
        raise ValueError(f"grey values {grey.min()}..{grey.max()} are outside 16 bits")
    scaled = np.empty(grey.shape, np.uint8)
    for start in range(0, len(grey), ROWS_AT_ONCE):
        rows = slice(start, start + ROWS_AT_ONCE)
        scaled[rows] = (grey[rows].astype(np.int32) + 128) // 257
    return Image.fromarray(scaled).convert("RGB")
