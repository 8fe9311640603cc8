"""Batches of features on their way to the disk: where and with which random numbers they are made, their type there,
a heartbeat, and a word about how long they take.
"""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from inat.config.trial import Precision
from inat.device import kept_random_state
from inat.errors import ConfigError
from inat.models.stages import StagedNetwork
from inat.training.precision import resolve_precision

SAY_AFTER_SECONDS = 5.0  # of computing features, how long the rest takes is known, and said if it is longer


def with_heartbeat(
    batches: Iterable[NDArray[Any]], heartbeat: Callable[[], None], count: int
) -> Iterator[NDArray[Any]]:
    """Call ``heartbeat`` for each batch; say once how long the others of ``count`` rows take, if that is long."""
    started, done, said = time.monotonic(), 0, False
    for batch in batches:
        heartbeat()
        done += len(batch)
        spent = time.monotonic() - started
        if not said and spent > SAY_AFTER_SECONDS:
            said = True
            if (left := spent / done * (count - done)) > SAY_AFTER_SECONDS:
                print(f"about {left:,.0f} s for the other {count - done:,} photos", file=sys.stderr, flush=True)
        yield batch


def as_stored(features: Tensor, dtype: str) -> Tensor:
    """Features in the type to store them in; a value beyond its range becomes the largest one."""
    kind = getattr(torch, dtype)
    if features.dtype == kind:
        return features
    most = torch.finfo(kind).max
    return features.clamp(-most, most).to(kind)


def as_numpy(features: Tensor) -> NDArray[Any]:
    """Features as a numpy array; numpy has no bfloat16, so its bits become uint16."""
    bits = features.view(torch.uint16) if features.dtype == torch.bfloat16 else features
    return bits.cpu().numpy()


@contextmanager
def moved_to(device: torch.device, prefix: StagedNetwork) -> Iterator[StagedNetwork]:
    """Frozen stages on ``device``; afterwards, they are on the CPU again."""
    try:
        yield prefix.to(device)
    finally:
        prefix.cpu()  # the networks of this process's trials share its modules


@contextmanager
def seeded(seed: int | None, device: torch.device) -> Iterator[None]:
    """Seed the random numbers with ``seed``, if it is one; afterwards, restore the random state of the trial."""
    with kept_random_state(device):
        if seed is not None:
            torch.manual_seed(seed)
        yield


def check_finite(features: Tensor, network: str, precision: Precision) -> None:
    """Raise ConfigError for features that are infinite or NaN."""
    if not bool(features.isfinite().all()):
        raise ConfigError(
            f"the frozen stages of {network} give infinite or NaN values in "
            f"{resolve_precision(precision)}; pass --precision 32-true or other weights"
        )
