"""The model in two formats that need none of our code, compared with the checkpoint they are made from.

Both take pixels: ``images`` (N, 3, S, S) uint8, RGB, 0..255, any N, photographs resized to S x S by bilinear
interpolation with antialiasing (Pillow's). Scaling and normalisation are inside. Both return ``probabilities``
(N, classes) float32.
"""

import json
import logging
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from inat.config.trial import DataConfig
from inat.constants import IMAGENET_MEAN, IMAGENET_STD
from inat.data.augment import normalise, scale_to_one
from inat.data.splits import load_splits
from inat.errors import SearchError
from inat.study.atomic_io import atomic_replace
from inat.training.checkpoint import LoadedCheckpoint, load_checkpoint

TOLERANCE = 1e-4  # largest difference of a probability; both compute in float32, in another order
CHECKED = 64  # test images whose outputs are compared
ONNX, PT2 = ".onnx", ".pt2"
Model = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


class Portable(nn.Module):
    """Pixels (N, 3, S, S) uint8 -> probabilities (N, classes) float32."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Scale, normalise, classify."""
        scaled = (images.to(torch.float32) / 255 - self.get_buffer("mean")) / self.get_buffer("std")
        probabilities: Tensor = self.net(scaled).softmax(1)
        return probabilities


def export(checkpoint: Path, data: DataConfig) -> dict[str, Any]:
    """Write ``checkpoint`` as .onnx and .pt2 beside it, compare both with it, and return what metrics.json says of it.

    ``data`` says where the test images are that they are compared on; their labels are not used. SearchError if an
    output differs by more than TOLERANCE, and the file is not kept.
    """
    loaded = load_checkpoint(checkpoint)
    images = example_images(data)
    expected = reference(loaded, images)
    # What torch.export and the exporter say concerns their own makers.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    logging.getLogger("onnxscript").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = exported(loaded)
        largest = {
            PT2: _write_pt2(program, checkpoint.with_suffix(PT2), images, expected),
            ONNX: _write_onnx(program, loaded, checkpoint.with_suffix(ONNX), images, expected),
        }
    return {
        "files": [checkpoint.with_suffix(suffix).name for suffix in largest],
        "input": f"images: uint8 (N, 3, {data.image_size}, {data.image_size}), RGB, 0..255, any N",
        "output": f"probabilities: float32 (N, {len(loaded.classes)}), in the order of classes.csv",
        "compared_images": len(images),
        "tolerance": TOLERANCE,
        "largest_difference": {suffix.removeprefix("."): difference for suffix, difference in largest.items()},
    }


def example_images(data: DataConfig) -> NDArray[np.uint8]:
    """Up to CHECKED images (n, 3, S, S) from all over the test split."""
    split = load_splits(data).test
    rows = split.rows[np.unique(np.linspace(0, len(split) - 1, min(CHECKED, len(split))).astype(int))]
    return np.ascontiguousarray(split.images[rows].transpose(0, 3, 1, 2))


def reference(loaded: LoadedCheckpoint, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Probabilities of the checkpoint itself, in float32, by the steps that training and evaluation take."""
    with torch.inference_mode():
        logits = loaded.classifier(normalise(scale_to_one(torch.from_numpy(images))))
    probabilities: NDArray[np.float32] = logits.softmax(1).numpy()
    return probabilities


def exported(loaded: LoadedCheckpoint) -> torch.export.ExportedProgram:
    """The network from pixels to probabilities, for any number of images."""
    # Channels-last weights would be stored as views that a reader of the file cannot place.
    net = loaded.classifier.net.requires_grad_(False).to(memory_format=torch.contiguous_format)
    side = loaded.config.data.image_size
    example = torch.zeros(2, 3, side, side, dtype=torch.uint8)  # two: a batch of one would be taken for a constant
    with torch.no_grad():
        return torch.export.export(
            Portable(net).eval(), (example,), dynamic_shapes={"images": {0: torch.export.Dim("batch", min=1)}}
        )


def _write_pt2(
    program: torch.export.ExportedProgram, path: Path, images: NDArray[np.uint8], expected: NDArray[np.float32]
) -> float:
    with atomic_replace(path) as partial:
        with partial.open("wb") as written:
            torch.export.save(program, written)
        with partial.open("rb") as file:
            module = torch.export.load(file).module()

        def run(some: NDArray[np.uint8]) -> NDArray[np.float32]:
            with torch.no_grad():
                output: NDArray[np.float32] = module(torch.from_numpy(some)).numpy()
            return output

        return checked_difference(run, images, expected, path)


def _write_onnx(
    program: torch.export.ExportedProgram,
    loaded: LoadedCheckpoint,
    path: Path,
    images: NDArray[np.uint8],
    expected: NDArray[np.float32],
) -> float:
    import onnx
    import onnxruntime

    shapes = {"images": {0: "batch"}}
    made = torch.onnx.export(
        program, (), dynamic_shapes=shapes, input_names=["images"], output_names=["probabilities"], dynamo=True,
        external_data=False, verbose=False,
    )  # fmt: skip
    assert made is not None
    proto = made.model_proto
    onnx.helper.set_model_props(proto, _described(loaded))
    with atomic_replace(path) as partial:
        onnx.save(proto, partial)
        session = onnxruntime.InferenceSession(partial, providers=["CPUExecutionProvider"])

        def run(some: NDArray[np.uint8]) -> NDArray[np.float32]:
            output: NDArray[np.float32] = session.run(["probabilities"], {"images": some})[0]
            return output

        return checked_difference(run, images, expected, path)


def _described(loaded: LoadedCheckpoint) -> dict[str, str]:
    """What the file says of itself."""
    side = loaded.config.data.image_size
    return {
        "classes": json.dumps(loaded.classes),
        "input": f"uint8 (N, 3, {side}, {side}), RGB, 0..255; resize photographs to {side} x {side}, bilinear",
        "output": "probabilities in the order of classes",
    }


def checked_difference(
    run: Model, images: NDArray[np.uint8], expected: NDArray[np.float32], path: Path, sizes: Sequence[int] = (1, 3)
) -> float:
    """The largest difference of ``run`` from ``expected``, with batches of 1, of 3 and of all the rest.

    SearchError if it is above TOLERANCE.
    """
    bounds = np.minimum(np.cumsum(sizes), len(images))
    parts = [part for part in np.split(images, bounds) if len(part)]
    difference = np.abs(np.concatenate([run(part) for part in parts]) - expected)
    largest = float(difference.max())
    if not largest <= TOLERANCE:  # NaN is not
        raise SearchError(
            f"{path} does not do what its checkpoint does (a probability differs by {largest:.2g}, more than "
            f"{TOLERANCE:g}) and is not kept; the checkpoint beside it is right"
        )
    return largest
