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
# Where data sets keep their labels without decoding an image.
LABEL_ATTRIBUTES = ("targets", "labels", "_labels", "y")


def list_torchvision(data: str, root: Path, download: bool = False) -> Listing:
    """List the images of the data set ``data`` ("torchvision:NAME") in the folder ``root``.

    A validation split of its own is used beside a test split, and is the held-out one without a test split; a data set
    without splits is cut. Raises DataError if it is unknown, not there, or not a classification of single images.
    """
    name = data.removeprefix(TORCHVISION)
    parts = {split: found for split in SPLIT_VALUES if (found := open_part(name, root, split, download)) is not None}
    if not parts:
        whole = open_part(name, root, ANY, download)
        assert whole is not None
        files = _list(whole, name, root, ANY)
        meaning = f"{name} has no splits: the test split is cut from it, then validation from the rest"
        return Listing(files, None, (ANY,) * len(files.files), meaning)
    listed = {split: _list(found, name, root, split) for split, found in parts.items()}
    if TEST not in listed and VAL in listed:
        listed[TEST] = listed.pop(VAL)
    train, test = listed[TRAIN], listed.get(TEST)
    cut = "" if test is None else "; validation is cut from its training split"
    meaning = f"{name} is held out by its own test split{cut}" if test else f"the test split is cut from {name}"
    return Listing(train, test, (ANY,) * len(train.files), meaning)


def reader(files: ImageFiles) -> Callable[[int], Image.Image]:
    """A function that returns image ``i`` of ``files``, which ``list_torchvision`` listed, in mode RGB."""
    name, split = files.source.split(":")[1:3]
    dataset = open_part(name, files.root, split, download=False)
    if dataset is None:
        raise DataError(f"{files.root} no longer has the {split} split of {name}; restore it")
    return lambda index: dataset[index][0].convert("RGB")


@lru_cache(maxsize=4)
def open_part(name: str, root: Path, split: str, download: bool) -> Any:
    """The part ``split`` of a data set, the whole one for ANY; None if it has no such part."""
    kind = _kind(name)
    accepted = inspect.signature(kind.__init__).parameters
    options: dict[str, Any] = {"download": download} if "download" in accepted else {}
    if split == ANY:
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
                if split == ANY or not _is_about_split(error, choice):
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
        close = difflib.get_close_matches(name, kinds, 3) or sorted(kinds)[:8]
        raise DataError(f"torchvision has no data set {name!r}; did you mean {' or '.join(close)}?")
    return kinds[name]


@contextmanager
def _as_data_error(name: str, root: Path, download: bool) -> Iterator[None]:
    try:
        yield
    except (ValueError, KeyError):
        raise
    except Exception as error:  # each data set has errors of its own
        reason = re.sub(r"\s+", " ", str(error)).split(". ")[0].rstrip(".") or type(error).__name__
        hint = "check --root" if download else "check --root, or add --download"
        raise DataError(f"{name} cannot be opened in {root} ({reason}); {hint}") from error


def _list(dataset: Any, name: str, root: Path, split: str) -> ImageFiles:
    labels = _labels(dataset, name)
    classes = tuple(map(str, getattr(dataset, "classes", None) or getattr(dataset, "categories", None) or ()))
    if not classes:
        classes = tuple(str(number) for number in range(max(labels) + 1))
    if len(labels) != len(dataset) or min(labels) < 0 or max(labels) >= len(classes):
        raise DataError(f"{name} has labels that do not fit its {len(classes)} classes; save it as folders of photos")
    width = len(str(len(labels)))
    files = tuple(ImageFile(f"{index:0{width}}", 0, 0, 0o444) for index in range(len(labels)))
    source = f"{TORCHVISION}{name}:{split}:{_digest(dataset, labels)}"
    return ImageFiles(root, classes, files, tuple(labels), prefix=split, source=source)


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
    else:
        for folder, folders, names in os.walk(str(dataset.root)):
            folders.sort()
            for file in sorted(names):
                digest.update(f"{file}\0{os.path.getsize(os.path.join(folder, file))}\0".encode(errors="replace"))
    return digest.hexdigest()[:16]
