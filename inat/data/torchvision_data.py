"""Data sets of torchvision that are on this machine, as lists of images: ``--data torchvision:CIFAR10 --root DIR``."""

import difflib
import hashlib
import inspect
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from inat.constants import TEST, TORCHVISION, TRAIN, VAL
from inat.data.image_files import ANY, ImageFile, ImageFiles, Listing
from inat.errors import DataError

# How data sets call their splits, tried in this order.
SPLIT_VALUES: Mapping[str, tuple[str, ...]] = {
    TRAIN: ("train", "trainval"),
    VAL: ("val", "valid"),
    TEST: ("test",),
}
WHOLE = "all"  # the part of a data set without splits
# Where data sets keep their labels without decoding an image.
LABEL_ATTRIBUTES = ("targets", "labels", "_labels", "y")
FILE_ATTRIBUTES = ("samples", "_samples", "_image_files", "_images", "imgs")


def list_torchvision(data: str, root: Path, download: bool = False) -> Listing:
    """List the images of the data set ``data`` ("torchvision:NAME") in the folder ``root``.

    A validation split of its own is used beside a test split, and is the held-out one without a test split; a data set
    without splits is cut. Raises DataError if it is unknown, not there, or not a classification of single images.
    """
    name = data.removeprefix(TORCHVISION)
    found = [split for split in SPLIT_VALUES if open_part(name, root, split, download) is not None]
    if TRAIN not in found:
        files = _list(name, root, WHOLE)
        meaning = f"{name} has no splits: the test split is cut from it, then validation from the rest"
        return Listing(files, None, (ANY,) * len(files.files), meaning)
    held_out = TEST if TEST in found else VAL if VAL in found else ""
    if len(found) == len(SPLIT_VALUES):
        both = _list(name, root, f"{TRAIN}+{VAL}")
        first = len(open_part(name, root, TRAIN, False))
        roles = (TRAIN,) * first + (VAL,) * (len(both.files) - first)
        return Listing(both, _list(name, root, TEST), roles, f"{name} has its own validation and test split")
    train = _list(name, root, TRAIN)
    test = _list(name, root, held_out) if held_out else None
    own = f"{name} has its own test split ({held_out})" if held_out else f"the test split is cut from {name}"
    return Listing(train, test, (ANY,) * len(train.files), f"{own}; validation is cut from the training images")


def reader(files: ImageFiles) -> Callable[[int], Image.Image]:
    """A function that returns image ``i`` of ``files``, which ``list_torchvision`` listed, in mode RGB."""
    name, splits = files.source.split(":")[1:3]
    dataset = _join(name, files.root, splits)
    return lambda index: dataset[index][0].convert("RGB")


def _join(name: str, root: Path, splits: str) -> Any:
    """The parts of a data set that ``splits`` names, one after the other, such as "train+val"."""
    from torch.utils.data import ConcatDataset

    parts = [open_part(name, root, split, download=False) for split in splits.split("+")]
    if None in parts:
        raise DataError(f"{root} no longer has the {splits} split of {name}; restore it")
    return ConcatDataset(parts)


@lru_cache(maxsize=4)
def open_part(name: str, root: Path, split: str, download: bool) -> Any:
    """The part ``split`` of a data set, the whole one for WHOLE; None if it has no such part."""
    kind = _kind(name)
    accepted = inspect.signature(kind.__init__).parameters
    options: dict[str, Any] = {"download": download} if "download" in accepted else {}
    if split == WHOLE:
        choices: Sequence[dict[str, Any]] = [{}]
    elif "split" in accepted:
        choices = [{"split": value} for value in SPLIT_VALUES[split]]
    elif "train" in accepted:
        choices = [] if split == VAL else [{"train": split == TRAIN}]
    else:
        choices = []
    for choice in choices:
        with _as_data_error(name, root, download):
            try:
                return kind(str(root), **choice, **options)
            except (ValueError, KeyError) as error:
                if split == WHOLE or not _is_about_split(error, choice):
                    raise
    return None


def _is_about_split(error: Exception, choice: Mapping[str, Any]) -> bool:
    return any(str(value) in str(error) for value in choice.values())


def _kind(name: str) -> Any:
    from torchvision import datasets
    from torchvision.datasets import VisionDataset

    kinds = {
        n: kind for n, kind in vars(datasets).items()
        if isinstance(kind, type) and issubclass(kind, VisionDataset) and n not in ("VisionDataset", "FakeData")
    }  # fmt: skip
    if name not in kinds:
        folded = {known.casefold(): known for known in sorted(kinds)}
        close = [folded[known] for known in difflib.get_close_matches(name.casefold(), folded, 3)] or sorted(kinds)[:8]
        raise DataError(f"torchvision has no data set {name!r}; did you mean {' or '.join(close)}?")
    return kinds[name]


@contextmanager
def _as_data_error(name: str, root: Path, download: bool) -> Iterator[None]:
    try:
        yield
    except (ValueError, KeyError):
        raise
    except TypeError as error:  # it needs an argument, such as a file of annotations
        raise DataError(f"{name} is no data set of single images with one class each; choose another one") from error
    except Exception as error:  # each data set has errors of its own
        reason = re.sub(r"\s+", " ", str(error)).split(". ")[0].rstrip(".") or type(error).__name__
        hint = "check --root" if download else "check --root, or add --download"
        raise DataError(f"{name} cannot be opened in {root} ({reason}); {hint}") from error


def _list(name: str, root: Path, splits: str) -> ImageFiles:
    parts = [open_part(name, root, split, download=False) for split in splits.split("+")]
    labels = [label for part in parts for label in _labels(part, name)]
    named = getattr(parts[0], "classes", None) or getattr(parts[0], "categories", None) or ()
    classes = tuple(map(str, named)) or tuple(str(number) for number in range(max(labels) + 1))
    if len(labels) != sum(map(len, parts)) or min(labels) < 0 or max(labels) >= len(classes):
        raise DataError(f"{name} has labels that do not fit its {len(classes)} classes; save it as folders of photos")
    width = len(str(len(labels)))
    files = tuple(ImageFile(f"{index:0{width}}", 0, 0, 0o444) for index in range(len(labels)))
    source = f"{TORCHVISION}{name}:{splits}:{'-'.join(_digest(part, labels) for part in parts)}"
    return ImageFiles(root, classes, files, tuple(labels), prefix=splits, source=source)


def _labels(dataset: Any, name: str) -> list[int]:
    found = next((getattr(dataset, a) for a in LABEL_ATTRIBUTES if getattr(dataset, a, None) is not None), None)
    if found is None and getattr(dataset, "_samples", None):
        found = [sample[1] for sample in dataset._samples]
    try:
        values = np.asarray(found)
        if values.ndim != 1 or not np.equal(np.mod(values, 1), 0).all():
            raise ValueError
        return [int(value) for value in values]
    except (TypeError, ValueError) as error:
        raise DataError(
            f"{name} has no single class per image; choose a data set for classification, or save it as folders"
        ) from error


def _digest(dataset: Any, labels: Sequence[int]) -> str:
    """Identifies the images: by their pixels if they are in memory, else by the sizes of the files they come from."""
    digest = hashlib.sha256(np.asarray(labels, np.int64).tobytes())
    pixels = getattr(dataset, "data", None)
    if pixels is not None and not isinstance(pixels, (list, str)):
        digest.update(np.ascontiguousarray(pixels).tobytes())
        return digest.hexdigest()[:16]
    for path in _files(dataset):
        digest.update(f"{os.path.basename(path)}\0{os.path.getsize(path)}\0".encode(errors="replace"))
    return digest.hexdigest()[:16]


def _files(dataset: Any) -> Sequence[str]:
    """The image files of a data set in order; all files below its root if it does not keep a list of them."""
    for attribute in FILE_ATTRIBUTES:
        found = getattr(dataset, attribute, None)
        if isinstance(found, (list, tuple)) and found:
            paths = [str(item[0] if isinstance(item, tuple) else item) for item in found]
            if os.path.exists(paths[0]):
                return paths
    return sorted(os.path.join(folder, name) for folder, _, names in os.walk(str(dataset.root)) for name in names)
