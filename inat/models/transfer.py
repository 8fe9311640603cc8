"""Loading published weights into the body of a model, whatever head they were trained with."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from copy import copy
from typing import Any

from torch import Tensor, nn
from torchvision.models.vision_transformer import interpolate_embeddings

from inat.errors import ConfigError

SHOWN = 3  # keys of each kind in a message
POSITIONS = "encoder.pos_embedding"


def load_body(
    model: nn.Module, output: nn.Linear, weights: Mapping[str, Tensor], name: str, auxiliary: tuple[str, ...] = ()
) -> None:
    """Copy ``weights`` into ``model``, all but its last layer ``output``.

    What they hold for that layer and under the prefixes ``auxiliary`` is ignored. Raises ConfigError with the keys
    that are missing, unexpected or of another shape.
    """
    head = next(key for key, module in model.named_modules() if module is output)
    ignored = (f"{head}.", *auxiliary)
    body: Any = copy(weights)  # not dict(): torch notes the format's version in an attribute
    shapes = {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()}
    for key in [key for key in body if key.startswith(ignored)]:
        del body[key]
    wrong = {key: tuple(body[key].shape) for key in body if key in shapes and tuple(body[key].shape) != shapes[key]}
    for key in wrong:
        del body[key]
    # torchvision's own loading, as it also reads older formats: batch norms without counters, ViT's former names.
    missing, unexpected = model.load_state_dict(body, strict=False)
    problems = [
        *_some("missing", [key for key in missing if key not in wrong and not key.startswith(ignored)]),
        *_some("unexpected", unexpected),
        *_some("of another shape", [f"{key} {shape} for {shapes[key]}" for key, shape in wrong.items()]),
    ]
    if problems:
        raise ConfigError(f"these are not weights of {name}: {'; '.join(problems)}")


def _some(kind: str, keys: Sequence[str]) -> list[str]:
    shown = [*keys[:SHOWN], *(["..."] if len(keys) > SHOWN else [])]
    return [f"{len(keys)} {kind} ({', '.join(shown)})"] if keys else []


def interpolate_positions(weights: Mapping[str, Tensor], image_size: int, patch: int) -> Mapping[str, Tensor]:
    """``weights`` with a vision transformer's positions interpolated to ``image_size`` pixels, by torchvision."""
    fitted: Any = copy(weights)
    # Without positions, or with some that are no square, the weights are of another model, which loading will tell.
    with suppress(KeyError, ValueError):
        interpolate_embeddings(image_size, patch, fitted)
    return fitted  # type: ignore[no-any-return]
