"""Arithmetic on this node: the meaning of precision "auto", and TF32."""

from typing import Literal

import torch

from inat.config.trial import Precision
from inat.device import fastest_type

Resolved = Literal["32-true", "bf16-mixed", "16-mixed"]
OF_TYPES: dict[torch.dtype, Resolved] = {
    torch.float32: "32-true",
    torch.bfloat16: "bf16-mixed",
    torch.float16: "16-mixed",
}


def resolve_precision(precision: Precision) -> Resolved:
    """Resolve "auto" to 16-bit arithmetic where this node multiplies it natively, else to float32; see fastest_type.

    >>> resolve_precision("32-true")
    '32-true'
    >>> resolve_precision("auto") in ("32-true", "bf16-mixed", "16-mixed")
    True
    """
    if precision != "auto":
        return precision
    return OF_TYPES[fastest_type()]


def autocast(precision: Precision, device: str) -> torch.autocast:
    """The arithmetic of validation during training, with which a checkpoint reproduces its recorded accuracy.

    >>> with autocast("bf16-mixed", "cpu"):
    ...     print((torch.ones(2, 2) @ torch.ones(2, 2)).dtype)
    torch.bfloat16
    """
    resolved = resolve_precision(precision)
    use_tensor_cores(torch.device(device))
    dtype = torch.float16 if resolved == "16-mixed" else torch.bfloat16
    return torch.autocast(device, dtype=dtype, enabled=resolved != "32-true")


def use_tensor_cores(device: torch.device) -> None:
    """Let a CUDA GPU multiply float32 matrices as TF32, with 10 bits of mantissa, as cuDNN's convolutions do anyway.

    Other devices compute as before. The setting is that of torch's earlier interface: after the newer one
    (``fp32_precision``) Lightning, which reads the earlier one, raises an error.

    >>> use_tensor_cores(torch.device("cpu"))
    >>> torch.get_float32_matmul_precision()
    'highest'
    """
    if device.type == "cuda" and torch.get_float32_matmul_precision() == "highest":
        torch.set_float32_matmul_precision("high")
