"""Export a checkpoint to ONNX and PT2, two formats that run without this package, and compare them with it.

Input: ``images`` (N, 3, S, S) uint8, RGB, 0..255, any N, resized by Pillow, whose interpolation has antialiasing.
Output: ``probabilities`` (N, classes) float32. Scaling and normalisation are part of the exported model.
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
from inat.data.decode import form_of
from inat.data.splits import load_splits
from inat.errors import SearchError
from inat.finalize.latency import onnx_latency
from inat.study.atomic_io import atomic_replace
from inat.training.checkpoint import LoadedCheckpoint, load_checkpoint

TOLERANCE = 1e-4  # allowed difference of a probability: float32 sums in another order differ slightly
COMPARED_IMAGES = 64
ONNX, PT2 = ".onnx", ".pt2"
Model = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


class PortableClassifier(nn.Module):
    """Pixels (N, 3, S, S) uint8 -> probabilities (N, classes) float32."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Scale to 0..1, normalise by ImageNet's statistics, classify."""
        scaled = (images.to(torch.float32) / 255 - self.get_buffer("mean")) / self.get_buffer("std")
        probabilities: Tensor = self.net(scaled).softmax(1)
        return probabilities


def export(checkpoint: Path, data: DataConfig) -> dict[str, Any]:
    """Write ``checkpoint`` as .onnx and .pt2 beside it and return the "exports" section of metrics.json.

    Both files are compared with the checkpoint on test images of ``data``, whose labels are not used. If a probability
    differs by more than TOLERANCE, the file is not kept and SearchError is raised.
    """
    loaded = load_checkpoint(checkpoint)
    images = comparison_images(data)
    expected = checkpoint_probabilities(loaded, images)
    # torch.export and the ONNX exporter log messages for their own developers.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    logging.getLogger("onnxscript").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = to_exported_program(loaded)
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
        "latency": onnx_latency(checkpoint.with_suffix(ONNX), images[:1]),
    }


def comparison_images(data: DataConfig) -> NDArray[np.uint8]:
    """Up to COMPARED_IMAGES images (n, 3, S, S) uint8, evenly spaced over the test split."""
    split = load_splits(data).test
    rows = split.rows[np.unique(np.linspace(0, len(split) - 1, min(COMPARED_IMAGES, len(split))).astype(int))]
    return np.ascontiguousarray(split.images[rows].transpose(0, 3, 1, 2))


def checkpoint_probabilities(loaded: LoadedCheckpoint, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Probabilities (N, classes) of the checkpoint in float32, by the same steps as in training and evaluation."""
    with torch.inference_mode():
        logits = loaded.classifier(normalise(scale_to_one(torch.from_numpy(images))))
    probabilities: NDArray[np.float32] = logits.softmax(1).numpy()
    return probabilities


def to_exported_program(loaded: LoadedCheckpoint) -> torch.export.ExportedProgram:
    """The program from pixels (N, 3, S, S) uint8 to probabilities (N, classes), for any N."""
    # Contiguous: channels-last weights would be stored as strided views, which other readers do not understand.
    net = loaded.classifier.net.requires_grad_(False).to(memory_format=torch.contiguous_format)
    side = loaded.config.data.image_size
    example = torch.zeros(2, 3, side, side, dtype=torch.uint8)  # two images: a size of one would become a constant
    with torch.no_grad():
        return torch.export.export(
            PortableClassifier(net).eval(), (example,), dynamic_shapes={"images": {0: torch.export.Dim("batch", min=1)}}
        )


def _write_pt2(
    program: torch.export.ExportedProgram, path: Path, images: NDArray[np.uint8], expected: NDArray[np.float32]
) -> float:
    with atomic_replace(path) as partial:
        with partial.open("wb") as written:
            torch.export.save(program, written)
        with partial.open("rb") as file:
            module = torch.export.load(file).module()

        def run(batch: NDArray[np.uint8]) -> NDArray[np.float32]:
            with torch.no_grad():
                output: NDArray[np.float32] = module(torch.from_numpy(batch)).numpy()
            return output

        return max_difference(run, images, expected, path)


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
    exported = torch.onnx.export(
        program, (), dynamic_shapes=shapes, input_names=["images"], output_names=["probabilities"], dynamo=True,
        external_data=False, verbose=False,
    )  # fmt: skip
    assert exported is not None
    proto = exported.model_proto
    onnx.helper.set_model_props(proto, _onnx_metadata(loaded))
    with atomic_replace(path) as partial:
        onnx.save(proto, partial)
        session = onnxruntime.InferenceSession(partial, providers=["CPUExecutionProvider"])

        def run(batch: NDArray[np.uint8]) -> NDArray[np.float32]:
            output: NDArray[np.float32] = session.run(["probabilities"], {"images": batch})[0]
            return output

        return max_difference(run, images, expected, path)


def _onnx_metadata(loaded: LoadedCheckpoint) -> dict[str, str]:
    """Metadata that the ONNX file stores."""
    side = loaded.config.data.image_size
    return {
        "classes": json.dumps(loaded.classes),
        "input": f"uint8 (N, 3, {side}, {side}), RGB, 0..255; {form_of(loaded.config.data).recipe}",
        "output": "probabilities in the order of classes",
    }


def max_difference(
    run: Model, images: NDArray[np.uint8], expected: NDArray[np.float32], path: Path, sizes: Sequence[int] = (1, 3)
) -> float:
    """The largest absolute difference between the output of ``run`` and ``expected`` (N, classes).

    ``images`` (N, 3, S, S) are passed in batches of ``sizes``, then all the rest at once. Raises SearchError if the
    difference is above TOLERANCE or NaN; ``path`` names the file in the message.
    """
    bounds = np.minimum(np.cumsum(sizes), len(images))
    parts = [part for part in np.split(images, bounds) if len(part)]
    difference = np.abs(np.concatenate([run(part) for part in parts]) - expected)
    largest = float(difference.max())
    if not largest <= TOLERANCE:  # also true for NaN
        raise SearchError(
            f"{path} does not reproduce its checkpoint (a probability differs by {largest:.2g}, more than "
            f"{TOLERANCE:g}) and is not kept; use the checkpoint, which is not affected"
        )
    return largest
