"""What the content of a checkpoint must satisfy before memory is allocated for its network.

A checkpoint of a stranger may describe a network of any size.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from inat.config.own_model import OwnModelConfig
from inat.config.small_resnet import ScratchNetwork
from inat.config.trial import TrialConfig
from inat.models.small_resnet import build_scratch

MAX_BATCH_BYTES = 8_000_000_000  # of decoded images; a batch of 256 images of 1,024 px has 0.8 GB


def check_contents(config: TrialConfig, classes: Sequence[Any], state: Mapping[str, Any], file_bytes: int) -> None:
    """Raise ValueError if the network, its images or its tensors are larger than the weights in the file."""
    if not all(isinstance(name, str) for name in classes):
        raise ValueError("the names of its classes are no texts")
    if not all(isinstance(tensor, Tensor) for tensor in state.values()):
        raise ValueError("its state dict has other values than tensors")
    own = isinstance(config.model, OwnModelConfig)
    if _bytes(state.values(), shared=own) > file_bytes:
        raise ValueError("its tensors are larger than the file")
    if not own and not any(tensor.ndim and len(tensor) == len(classes) for tensor in state.values()):
        raise ValueError(f"no layer has the {len(classes):,} outputs of its classes")
    side, batch = config.data.image_size, config.optim.batch_size
    if 3 * side * side * batch > MAX_BATCH_BYTES:
        raise ValueError(f"batches of {batch:,} images of {side:,} px do not fit into memory")
    weights = sum(tensor.numel() for tensor in state.values())
    if isinstance(config.model, ScratchNetwork) and _elements(config, len(classes)) > weights:
        raise ValueError("the network that it describes is larger than its weights")


def _bytes(tensors: Iterable[Tensor], *, shared: bool) -> int:
    """Bytes of the tensors; with ``shared``, one under several names counts once, as in the file."""
    if not shared:
        return sum(tensor.nbytes for tensor in tensors)
    largest: dict[int, int] = {}
    for tensor in tensors:
        largest[tensor.data_ptr()] = max(largest.get(tensor.data_ptr(), 0), tensor.nbytes)
    return sum(largest.values())


def _elements(config: TrialConfig, num_classes: int) -> int:
    assert isinstance(config.model, ScratchNetwork)
    with torch.device("meta"):  # allocates nothing
        network = build_scratch(config.model, config.data.image_size, num_classes)
    return sum(tensor.numel() for tensor in network.state_dict().values())
