"""Fake weights with the keys of the published files."""

from collections import OrderedDict

import torch
from torchvision.models import get_model


def published(name: str) -> OrderedDict[str, torch.Tensor]:
    """Random weights with the keys and shapes of the published file, including 1,000 classes and auxiliary heads."""
    options = {"init_weights": True} if name in ("googlenet", "inception_v3") else {}
    with torch.device("meta"):
        state = get_model(name, weights=None, **options).state_dict()
    generator = torch.Generator().manual_seed(0)
    for key, tensor in state.items():
        state[key] = torch.zeros((), dtype=torch.long)
        if tensor.dim():
            bound = (6 / tensor[0].numel()) ** 0.5 if tensor.dim() > 1 else 0.2
            center = float(tensor.dim() == 1 and not key.endswith(("bias", "mean")))
            state[key] = torch.empty(tensor.shape).uniform_(center - bound, center + bound, generator=generator)
    return state
