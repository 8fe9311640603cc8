"""Load published weights into the body of a model, whatever head they were trained with."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from copy import copy
from typing import Any

from torch import Tensor, nn
from torchvision.models.vision_transformer import interpolate_embeddings

from inat.errors import ConfigError

SHOWN = 3  # keys of each kind in a message


def load_body(
    model: nn.Module, output: nn.Linear, weights: Mapping[str, Tensor], name: str, auxiliary: tuple[str, ...] = ()
) -> None:
    """Copy ``weights`` into all layers of ``model`` but the last one, ``output``.

    Ignores weights of that layer, and weights whose keys start with one of ``auxiliary``. Raises ConfigError with the
    keys that are missing, unexpected or of another shape.
    """
    head = next(key for key, module in model.named_modules() if module is output)
    ignored = (f"{head}.", *auxiliary)
    body: Any = copy(weights)  # not dict(): torch stores the version of the format in an attribute
    shapes = {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()}
    for key in [key for key in body if key.startswith(ignored)]:
        del body[key]
    wrong = {key: tuple(body[key].shape) for key in body if key in shapes and tuple(body[key].shape) != shapes[key]}
    for key in wrong:
        del body[key]
    # torchvision's models also load older formats: batch norms without counters, ViT's former names.
    missing, unexpected = model.load_state_dict(body, strict=False)
    problems = [
        *_counted("missing", [key for key in missing if key not in wrong and not key.startswith(ignored)]),
        *_counted("unexpected", unexpected),
        *_counted("of another shape", [f"{key} {shape} for {shapes[key]}" for key, shape in wrong.items()]),
    ]
    if problems:
        raise ConfigError(f"these are not weights of {name}: {'; '.join(problems)}")


def _counted(kind: str, keys: Sequence[str]) -> list[str]:
    shown = [*keys[:SHOWN], *(["..."] if len(keys) > SHOWN else [])]
    return [f"{len(keys)} {kind} ({', '.join(shown)})"] if keys else []


def interpolate_positions(weights: Mapping[str, Tensor], image_size: int, patch: int) -> Mapping[str, Tensor]:
    """``weights`` of a vision transformer with torchvision's interpolation of its positions to ``image_size`` pixels.

    ``patch`` is the side of a patch in pixels.
    """
    interpolated: Any = copy(weights)
    # Weights without positions, or with a number of positions that is no square, are of another model: load_body will
    # raise.
    with suppress(KeyError, ValueError):
        interpolate_embeddings(image_size, patch, interpolated)
    return interpolated  # type: ignore[no-any-return]
