import os
import stat
import tempfile

import pytest
import torch
from torch import nn

from inat.config.trial import TrialConfig
from inat.errors import ConfigError, DataError
from inat.training import compiling
from inat.training.fit import fit


def test_compiling_without_a_compiler_is_refused(cnn_params, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(ConfigError, match=r"--compile needs a C\+\+ compiler and none is installed"):
        fit(TrialConfig.from_params(cnn_params | {"compile": True}))


def test_compiled_code_is_kept_in_a_folder_of_this_user(monkeypatch, tmp_path):
    monkeypatch.setenv(compiling.COMPILED_VARIABLE, "/tmp/mine")
    compiling.keep_compiled_code_private(tmp_path / "cache")
    assert os.environ[compiling.COMPILED_VARIABLE] == "/tmp/mine"  # the user's own choice
    for before in ("", os.path.join(tempfile.gettempdir(), "torchinductor_somebody")):
        monkeypatch.setenv(compiling.COMPILED_VARIABLE, before)
        compiling.keep_compiled_code_private(tmp_path / "cache")
        assert os.environ[compiling.COMPILED_VARIABLE] == str(tmp_path / "cache" / "compiled")
    assert stat.S_IMODE((tmp_path / "cache" / "compiled").stat().st_mode) == 0o700
    (tmp_path / "cache" / "compiled").chmod(0o777)
    monkeypatch.delenv(compiling.COMPILED_VARIABLE)
    with pytest.raises(DataError, match="every user of this machine can write to the cache"):
        compiling.keep_compiled_code_private(tmp_path / "cache")


@pytest.fixture
def gpu(monkeypatch, tmp_path):
    """A GPU of compute capability 9.0, Triton and a C compiler."""
    (tmp_path / "gcc").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Tesla P100")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (9, 0))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)


def test_what_triton_needs_is_checked_on_a_gpu(gpu, monkeypatch, tmp_path):
    compiling.check_compiler()  # and no C++ compiler
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="needs Triton on a GPU and it is not installed"):
        compiling.check_compiler()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    (tmp_path / "gcc").unlink()
    with pytest.raises(ConfigError, match="needs a C compiler on a GPU and none is installed"):
        compiling.check_compiler()
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (6, 0))
    with pytest.raises(ConfigError, match=r"compute capability 7\.0, and Tesla P100 has 6\.0; leave --compile out"):
        compiling.check_compiler()
    with pytest.raises(ConfigError, match="needs a C\\+\\+ compiler"):
        compiling.check_compiler("cpu")


@pytest.mark.parametrize(
    ("device", "whole", "variable", "mode"),
    [("cuda", True, "1", "reduce-overhead"), ("cuda", True, "0", "default"), ("cuda", False, "1", "default"),
     ("cpu", True, "1", "default")],
)  # fmt: skip
def test_cuda_graphs_are_used_only_where_asked_for_and_possible(
    cnn_params, monkeypatch, tmp_path, device, whole, variable, mode
):
    seen = []
    monkeypatch.setenv(compiling.GRAPHS, variable)
    monkeypatch.setattr(compiling, "check_compiler", lambda device: None)
    monkeypatch.setattr(compiling, "keep_compiled_code_private", lambda folder: None)
    monkeypatch.setattr(nn.Module, "compile", lambda self, **options: seen.append(options))
    compiling.compile_network(nn.Linear(1, 1), TrialConfig.from_params(cnn_params), device, whole=whole)
    assert seen == [{"mode": mode}]
