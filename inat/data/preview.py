"""A figure of what training sees: stored images, as validation sees them, beside augmented copies."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from analysis.terminal import PlainConsole
from inat.config.trial import DataConfig
from inat.config.validation import expanded
from inat.data.augment import augment, scale_to_one
from inat.data.loader import SplitDataset
from inat.data.splits import Split, load_splits
from inat.errors import DataError

ROWS, COPIES = 8, 7
INCHES = 1.3  # side of one image in the figure


def write_preview(config: DataConfig, path: Path, seed: int = 0) -> None:
    """Draw up to ``ROWS`` training images, of as many classes as possible, with ``COPIES`` augmented copies each.

    ``config`` must have augmentation on. Raises DataError if ``path`` cannot be written.
    """
    splits = load_splits(config)
    rows = example_rows(splits.train)
    torch.manual_seed(seed)
    images = np.concatenate([stored_images(splits.train, rows)[:, None], augmented_copies(config, rows)], axis=1)
    names = [splits.classes[label] for label in splits.train.labels[splits.train.rows[rows]]]
    _draw(images, names, path)
    PlainConsole().print(f"{path}: {len(rows)} training photos as stored and {COPIES} augmented copies of each")


def example_rows(split: Split) -> list[int]:
    """Positions in ``split`` of one image of each class in turn, at most ``ROWS`` of them."""
    labels = split.labels[split.rows]
    queues = [np.flatnonzero(labels == label).tolist() for label in np.unique(labels)]
    longest = max(len(queue) for queue in queues)
    in_turn = (queue[i] for i in range(longest) for queue in queues if i < len(queue))
    return [row for row, _ in zip(in_turn, range(ROWS), strict=False)]


def stored_images(split: Split, rows: Sequence[int]) -> NDArray[np.float32]:
    """Stored images (len(rows), H, W, 3) in 0..1, as validation sees them."""
    return _to_numpy(scale_to_one(torch.from_numpy(split.images[split.rows[rows]]).permute(0, 3, 1, 2)))


def augmented_copies(config: DataConfig, rows: Sequence[int]) -> NDArray[np.float32]:
    """Augmented copies (len(rows), COPIES, H, W, 3) in 0..1, one for each of ``COPIES`` epochs."""
    dataset = SplitDataset(load_splits(config).train, torch.device("cpu"))
    batch = dataset.__getitems__(list(rows))
    assert batch.aspects is not None
    copies = [augment(batch.images, batch.aspects, config.image_size, policy=config.policy) for _ in range(COPIES)]
    return np.stack([_to_numpy(images) for images in copies], axis=1)


def _to_numpy(images: Tensor) -> NDArray[np.float32]:
    return images.permute(0, 2, 3, 1).numpy()


def _draw(images: NDArray[np.float32], names: Sequence[str], path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # draws into files, with or without a display
    from matplotlib.figure import Figure

    rows, columns = images.shape[:2]
    figure = Figure(figsize=(INCHES * columns, INCHES * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for row in range(rows):
        axes[row, 0].set_ylabel(names[row])
        for column in range(columns):
            axes[row, column].imshow(images[row, column])
            axes[row, column].set(xticks=[], yticks=[])
    axes[0, 0].set_title("as stored")
    axes[0, 1].set_title("augmented", loc="left")
    try:
        FigureCanvasAgg(figure).print_figure(expanded(path), dpi=150)
    except (OSError, ValueError) as error:  # matplotlib's ValueError lists the formats it can write
        raise DataError(f"cannot write {path} ({error}); pass --augment-preview FILE.png") from error
