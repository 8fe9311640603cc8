import torch

from inat.training import precision


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


def test_float32_uses_tensor_cores_on_a_gpu_only():
    torch.set_float32_matmul_precision("highest")  # trainings on fake GPUs leave it otherwise
    try:
        precision.use_tensor_cores(torch.device("cpu"))
        assert torch.get_float32_matmul_precision() == "highest"
        precision.use_tensor_cores(torch.device("cuda"))
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision("highest")
