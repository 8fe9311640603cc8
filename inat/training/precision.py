"""Arithmetic on this node: the meaning of precision "auto", and TF32."""

from typing import Literal

import torch

from inat.config.trial import Precision
from inat.device import kind


def resolve_precision(precision: Precision) -> Literal["32-true", "bf16-mixed", "16-mixed"]:
    """Resolve "auto" to 16-bit arithmetic where this node multiplies it natively, else to float32.

    That is bfloat16 on GPUs from Ampere on and on CPUs with AVX512-BF16 or AMX, and float16 on GPUs with tensor cores.

    >>> resolve_precision("32-true")
    '32-true'
    >>> resolve_precision("auto") in ("32-true", "bf16-mixed", "16-mixed")
    True
    """
    if precision != "auto":
        return precision
    device = kind()
    if device == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return "bf16-mixed"
        return "16-mixed" if torch.cuda.get_device_capability() >= (7, 0) else "32-true"
    return "bf16-mixed" if device == "cpu" and _cpu_multiplies_bf16() else "32-true"


def _cpu_multiplies_bf16() -> bool:
    # Without these instructions bfloat16 is emulated, which is slower than float32.
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return any(bool(capabilities.get(name)) for name in ("avx512_bf16", "amx_bf16"))


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
