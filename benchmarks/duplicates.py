"""Measure which copies of photographs inat.data.duplicates finds, what else it takes for copies, and what that costs.

    python benchmarks/duplicates.py --data PHOTOS MORE_PHOTOS --picture pairs.png

1. Recall: of each kind in KINDS, ``--copies`` photographs are copied, no photograph twice, so that no copy is found
   over another one. The copies are encoded and decoded again. A copy is found if it is in the set of its original.
2. The pairs that are found among the originals are drawn into ``--picture``, the least similar ones first: whether they
   are copies is for a person to see.
3. Cost, on ``--build-photos`` photographs in ``--rounds`` alternating rounds: decoding to ``--image-size`` px with
   thumbnails and looking for copies, against decoding without thumbnails. Ratios of processor time, and of wall time.
"""

import io
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from unittest import mock

import numpy as np
import tyro
from inspect_data import photographs
from measure import hardware, print_report, ratios
from numpy.typing import NDArray
from PIL import Image, ImageEnhance

from inat.constants import THUMBNAILS_NPY
from inat.data import image_store_builder
from inat.data.decode import Resize, read_image
from inat.data.duplicates import find_copies
from inat.data.image_files import ImageFiles
from inat.data.image_folder import image_file
from inat.data.thumbnails import SIDE, grey, thumbnail

Change = Callable[[Image.Image], Image.Image]
PICTURE_PAIRS, PICTURE_SIDE, PAIRS_PER_ROW = 120, 96, 5


@dataclass(frozen=True, kw_only=True)
class Options:
    """Measure the search for copies."""

    data: tuple[Path, ...]
    """Folders with JPEG photographs in folders of classes, at any depth."""
    photos: int = 3000
    """Most photographs to take, the first folder's first."""
    copies: int = 200
    """Copies of each kind."""
    picture: Path = Path("pairs.png")
    """Picture of the pairs among the originals."""
    image_size: int = 224
    build_photos: int = 1000
    rounds: int = 5


def cropped(share: float) -> Change:
    """Cut ``share`` of width and height away, half on each side."""

    def crop(image: Image.Image) -> Image.Image:
        x, y = image.width * share / 2, image.height * share / 2
        return image.crop((round(x), round(y), round(image.width - x), round(image.height - y)))

    return crop


# Name of each kind, how the pixels change, and how the result is saved.
KINDS: dict[str, tuple[Change, dict[str, object]]] = {
    "jpeg50": (lambda image: image, {"format": "JPEG", "quality": 50}),
    "jpeg30": (lambda image: image, {"format": "JPEG", "quality": 30}),
    "half": (lambda image: image.resize((image.width // 2, image.height // 2)), {"format": "JPEG", "quality": 90}),
    "png": (lambda image: image, {"format": "PNG"}),
    "brighter": (lambda image: ImageEnhance.Brightness(image).enhance(1.15), {"format": "JPEG", "quality": 90}),
    "darker": (lambda image: ImageEnhance.Brightness(image).enhance(0.85), {"format": "JPEG", "quality": 90}),
    "grey": (lambda image: image.convert("L"), {"format": "JPEG", "quality": 90}),
    "crop2": (cropped(0.02), {"format": "JPEG", "quality": 90}),
    "crop5": (cropped(0.05), {"format": "JPEG", "quality": 90}),
    "crop10": (cropped(0.10), {"format": "JPEG", "quality": 90}),
    "mirrored": (lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT), {"format": "JPEG", "quality": 90}),
    "rotated": (lambda image: image.transpose(Image.Transpose.ROTATE_90), {"format": "JPEG", "quality": 90}),
}


def copy_thumbnail(image: Image.Image, kind: str) -> NDArray[np.uint8]:
    """The thumbnail of a copy of ``image`` that was saved and read again."""
    change, options = KINDS[kind]
    buffer = io.BytesIO()
    change(image).save(buffer, **options)  # type: ignore[arg-type]
    return thumbnail(Image.open(buffer).convert("RGB"))


def recalls(paths: Sequence[Path], originals: NDArray[np.uint8], copies: int) -> dict[str, list[float]]:
    """The share of planted copies of each kind that is in the set of its original."""
    order = np.random.default_rng(0).permutation(len(paths))
    chosen = {kind: order[i * copies : (i + 1) * copies] for i, kind in enumerate(KINDS)}
    planted = [copy_thumbnail(read_image(paths[row]), kind) for kind, rows in chosen.items() for row in rows]
    every = np.concatenate([originals, np.stack(planted)])
    sets = find_copies(every, np.ones(len(every), np.bool_)).sets
    found, start = {}, len(originals)
    for kind, rows in chosen.items():
        found[f"recall_{kind}"] = [float((sets[rows] == sets[start : start + len(rows)]).mean())]
        start += len(rows)
    return found


def correlations(thumbnails: NDArray[np.uint8], pairs: NDArray[np.int64]) -> NDArray[np.float64]:
    """The correlation of the brightness of the two thumbnails of each pair."""
    pixels = grey(thumbnails).reshape(len(thumbnails), -1).astype(float)
    return np.array([np.corrcoef(pixels[a], pixels[b])[0, 1] for a, b in pairs])


def draw_pairs(paths: Sequence[Path], pairs: NDArray[np.int64], target: Path) -> None:
    """Draw pairs side by side, in this order."""
    pairs = pairs[:PICTURE_PAIRS]
    width = 2 * PICTURE_SIDE + 12
    size = (PAIRS_PER_ROW * width, max(1, -(-len(pairs) // PAIRS_PER_ROW)) * (PICTURE_SIDE + 8))
    sheet = Image.new("RGB", size, "white")
    for number, pair in enumerate(pairs):
        left, top = number % PAIRS_PER_ROW * width, number // PAIRS_PER_ROW * (PICTURE_SIDE + 8)
        for offset, row in zip((0, PICTURE_SIDE), pair, strict=True):
            sheet.paste(read_image(paths[row]).resize((PICTURE_SIDE, PICTURE_SIDE)), (left + offset, top))
    sheet.save(target)


def build(files: ImageFiles, size: int, with_copies: bool) -> tuple[float, float]:
    """Seconds of wall and of processor time to decode ``files``, with thumbnails and copies or without."""
    empty = np.zeros((SIDE, SIDE, 3), np.uint8)
    replaced = thumbnail if with_copies else lambda image: empty
    with tempfile.TemporaryDirectory() as folder, mock.patch.object(image_store_builder, "thumbnail", replaced):
        target = Path(folder, f"{size}px")
        wall, processor = time.perf_counter(), time.process_time()
        image_store_builder.build_stores(files, {Resize(size): target})
        if with_copies:
            find_copies(np.load(target / THUMBNAILS_NPY), np.ones(len(files.files), np.bool_))
        return time.perf_counter() - wall, time.process_time() - processor


def costs(paths: Sequence[Path], options: Options) -> dict[str, list[float]]:
    """Ratios of decoding with the search for copies to decoding alone, and its milliseconds per image."""
    files = ImageFiles(Path("/"), ("any",), tuple(image_file(str(p), p) for p in paths), (0,) * len(paths))
    times: dict[bool, list[tuple[float, float]]] = {False: [], True: []}
    for number in range(1 + options.rounds):  # the first round warms up
        for with_copies in (False, True) if number % 2 else (True, False):
            seconds = build(files, options.image_size, with_copies)
            if number:
                times[with_copies].append(seconds)
    (plain_wall, plain_cpu), (wall, cpu) = (zip(*times[key], strict=True) for key in (False, True))
    extra = [1000 * (a - b) / len(paths) for a, b in zip(cpu, plain_cpu, strict=True)]
    return {"cost_cpu": ratios(cpu, plain_cpu), "cost_wall": ratios(wall, plain_wall), "extra_cpu_ms": extra}


def main() -> None:
    """Print recall, pairs and costs, then the result line."""
    options = tyro.cli(Options)
    print(options, hardware(), sep="\n")
    paths = [path.resolve() for path in islice(photographs(options.data), options.photos)]
    thumbnails = np.stack([thumbnail(read_image(path)) for path in paths])
    started = time.perf_counter()
    pairs = find_copies(thumbnails, np.ones(len(paths), np.bool_)).pairs
    parts = {"photos": [float(len(paths))], "pairs": [float(len(pairs))], "seconds": [time.perf_counter() - started]}
    similar = correlations(thumbnails, pairs)
    draw_pairs(paths, pairs[np.argsort(similar)], options.picture)
    print(f"{len(pairs)} pairs among {len(paths)} originals, {options.picture} shows them", flush=True)
    if options.copies:
        parts |= recalls(paths, thumbnails, options.copies)
    if options.rounds:
        parts |= costs(paths[: options.build_photos], options)
    print_report(parts)


if __name__ == "__main__":
    main()
