"""Run a stage without keeping its activations: the backward pass computes them again, with the same result."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from inat.models.norms import BATCH_NORMS


def run_checkpointed(stage: nn.Module, flow: Tensor) -> Tensor:
    """The output of ``stage``; in training its activations are not kept.

    Random numbers and autocast of the second pass are those of the first one, and the batch norms do not count a batch
    twice.
    """
    if not (stage.training and torch.is_grad_enabled()):
        output: Tensor = stage(flow)
        return output

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), _statistics_kept(stage)

    again: Tensor = checkpoint(stage, flow, use_reentrant=False, context_fn=contexts)
    return again


@contextmanager
def _statistics_kept(stage: nn.Module) -> Iterator[None]:
    """Batch norms in training normalise by the batch, as before, and leave their running statistics as they are."""
    norms = [
        m for m in stage.modules() if isinstance(m, BATCH_NORMS) and m.training and m.num_batches_tracked is not None
    ]
    momenta = [norm.momentum for norm in norms]
    counts = [norm.num_batches_tracked.clone() for norm in norms]  # type: ignore[union-attr]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum, count in zip(norms, momenta, counts, strict=True):
            norm.momentum = momentum
            norm.num_batches_tracked.copy_(count)  # type: ignore[union-attr]
