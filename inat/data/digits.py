"""The built-in data set: 1,797 scans (8x8) of handwritten digits, which scikit-learn ships, as RGB images."""

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits

COUNT = 1797
CLASSES = tuple(str(digit) for digit in range(10))


def load(image_size: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images (1797, image_size, image_size, 3) in 0..255 and labels (1797,).

    ``image_size`` must be a multiple of 8: each pixel of a scan becomes a square of equal pixels, without blur.
    """
    scans = load_digits()
    grey = np.round(scans.images * (255 / 16)).astype(np.uint8)  # the pixels of a scan are in 0..16
    large = grey.repeat(image_size // 8, axis=1).repeat(image_size // 8, axis=2)
    return np.repeat(large[..., None], 3, axis=-1), scans.target.astype(np.int64)
