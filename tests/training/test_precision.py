import os
import stat
import tempfile

import pytest
import torch

from inat.config.trial import TrialConfig
from inat.errors import ConfigError, DataError
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


def test_compiled_code_is_kept_in_a_folder_of_this_user(monkeypatch, tmp_path):
    monkeypatch.setenv(precision.COMPILED_VARIABLE, "/tmp/mine")
    precision.keep_compiled_code_private(tmp_path / "cache")
    assert os.environ[precision.COMPILED_VARIABLE] == "/tmp/mine"  # the user's own choice
    for before in ("", os.path.join(tempfile.gettempdir(), "torchinductor_somebody")):
        monkeypatch.setenv(precision.COMPILED_VARIABLE, before)
        precision.keep_compiled_code_private(tmp_path / "cache")
        assert os.environ[precision.COMPILED_VARIABLE] == str(tmp_path / "cache" / "compiled")
    assert stat.S_IMODE((tmp_path / "cache" / "compiled").stat().st_mode) == 0o700
    (tmp_path / "cache" / "compiled").chmod(0o777)
    monkeypatch.delenv(precision.COMPILED_VARIABLE)
    with pytest.raises(DataError, match="every user of this machine can write to the cache"):
        precision.keep_compiled_code_private(tmp_path / "cache")
