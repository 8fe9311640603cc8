import numpy as np
import pytest
import torch

from inat.config.trial import TrialConfig
from inat.errors import ConfigError
from inat.training import precision
from inat.training.fit import fit


def test_auto_precision_follows_the_processor(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True}, raising=False)
    assert precision.resolve_precision("auto") == "bf16-mixed"
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": False}, raising=False)
    assert precision.resolve_precision("auto") == "32-true"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: False)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (7, 5))
    assert precision.resolve_precision("auto") == "16-mixed"
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (6, 1))
    assert precision.resolve_precision("auto") == "32-true"
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: True)
    assert precision.resolve_precision("auto") == "bf16-mixed"
    assert precision.resolve_precision("32-true") == "32-true"


def test_compiling_without_a_compiler_is_refused(cnn_params, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(ConfigError, match=r"--compile needs a C\+\+ compiler and none is installed"):
        fit(TrialConfig.from_params(cnn_params | {"compile": True}))


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("Tried to allocate 2 GiB"), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"), True),
        (RuntimeError("CUDA error: out of memory"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (np._core._exceptions._ArrayMemoryError((2,), np.dtype("float32")), True),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), False),
    ],
)
def test_the_ways_in_which_memory_runs_out(error, expected):
    assert precision.is_out_of_memory(error) == expected


def test_an_impossible_tensor_is_out_of_memory():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    assert precision.is_out_of_memory(caught.value)
