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
