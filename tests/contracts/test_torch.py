"""What `inat.data`, `inat.models` and `inat.training` rely on in torch, torchvision, numpy and Pillow, undocumented.

Each test names one symbol or one behaviour, says what relies on it, and fails with what has moved. Run these tests
first after an update of these libraries.
"""

import inspect
import os
import platform
import tempfile
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torchvision.models.vision_transformer import interpolate_embeddings

from inat.config.backbones import BACKBONE_NAMES
from inat.models.published_backbones import BACKBONES
from inat.training.compiling import COMPILED_VARIABLE
from inat.training.memory import is_out_of_memory


def parameters_of(function: object) -> list[str]:
    return list(inspect.signature(function).parameters)


def test_an_averaged_model_counts_in_a_buffer_and_passes_lists_to_its_function():
    # WeightAverage replaces the buffer n_averaged by an attribute, and passes multi_avg_fn.
    assert {"multi_avg_fn", "use_buffers"} <= {*parameters_of(AveragedModel)}, "AveragedModel has other arguments"
    assert parameters_of(get_ema_multi_avg_fn) == ["decay"], "get_ema_multi_avg_fn has changed"
    calls = []
    model = AveragedModel(nn.Linear(1, 1), multi_avg_fn=lambda old, new, n: calls.append((len(old), len(new), int(n))))
    assert "n_averaged" in dict(model.named_buffers()), "AveragedModel counts elsewhere"
    for _ in range(2):
        model.update_parameters(nn.Linear(1, 1))
    assert int(model.n_averaged) == 2, "update_parameters no longer counts in n_averaged"
    assert calls == [(2, 2, 1)], "multi_avg_fn gets other arguments"


def test_state_dict_hooks_are_public():
    # WeightAverage stores its counter with them.
    for name in ("register_state_dict_post_hook", "register_load_state_dict_pre_hook"):
        assert parameters_of(getattr(nn.Module, name)) == ["self", "hook"], f"nn.Module.{name} has changed"


@pytest.mark.parametrize("name", BACKBONE_NAMES)
def test_published_weights_state_their_facts(name):
    # Backbone reads weights.meta["_metrics"], "num_params" and "min_size", weights.url and the preset of transforms().
    weights = BACKBONES[name].weights
    assert weights.meta["_metrics"]["ImageNet-1K"]["acc@1"] > 50, "torchvision moved the published accuracy"
    assert weights.meta["num_params"] > 1_000_000, "torchvision moved the number of parameters"
    assert min(weights.meta["min_size"]) > 0, "torchvision moved the smallest image size"
    assert weights.url.endswith(".pth"), "torchvision moved the address of the weights"
    preset = weights.transforms()
    assert (len(preset.crop_size), len(preset.mean), len(preset.std)) == (1, 3, 3), "the preset of transforms() changed"


def test_positions_are_interpolated_by_size_patch_and_state():
    # inat.models.transfer.interpolate_positions passes these three by position.
    assert parameters_of(interpolate_embeddings)[:3] == ["image_size", "patch_size", "model_state"], (
        "interpolate_embeddings has changed"
    )


def test_a_download_takes_the_start_of_the_hash():
    # inat.models.weights passes the hash from the file name by position.
    names = parameters_of(torch.hub.download_url_to_file)
    assert names[:3] == ["url", "dst", "hash_prefix"], "torch.hub.download_url_to_file has changed"


@pytest.mark.skipif(platform.machine() != "x86_64", reason="names of x86 instructions")
def test_torch_names_the_instructions_of_the_cpu():
    # resolve_precision("auto") reads both names from torch.cpu.get_capabilities().
    capabilities = torch.cpu.get_capabilities()
    assert {"avx512_bf16", "amx_bf16"} <= capabilities.keys(), "torch.cpu.get_capabilities has other names"


@pytest.mark.parametrize(
    "action",
    [lambda: torch.empty(2**60, dtype=torch.uint8), lambda: np.empty(2**60, dtype=np.uint8)],
    ids=["torch", "numpy"],
)
def test_real_errors_of_too_little_memory_are_recognised(action):
    # inat.training.memory knows these errors by type and by English text.
    with pytest.raises((RuntimeError, MemoryError)) as caught:
        action()
    assert is_out_of_memory(caught.value), f"not recognised: {caught.value!r}"


def test_out_of_memory_on_a_gpu_is_a_runtime_error():
    # fit and the computation of features catch RuntimeError and MemoryError.
    assert issubclass(torch.OutOfMemoryError, RuntimeError)
    assert is_out_of_memory(torch.OutOfMemoryError("Tried to allocate 2 GiB")), "torch renamed OutOfMemoryError"


def test_numpy_writes_the_header_of_an_array_that_is_not_there_yet():
    # inat.data.feature_store writes features in batches behind a header of the whole array.
    assert parameters_of(np.lib.format.header_data_from_array_1_0) == ["array"], (
        "header_data_from_array_1_0 has changed"
    )
    assert parameters_of(np.lib.format.write_array_header_1_0) == ["fp", "d"], "write_array_header_1_0 has changed"
    header = np.lib.format.header_data_from_array_1_0(np.zeros((2, 3), np.float32))
    assert header == {"shape": (2, 3), "fortran_order": False, "descr": "<f4"}, "the header has other keys"


def test_pillow_lists_the_formats_that_it_can_open():
    # inat.data.image_folder.image_suffixes takes the endings of formats in Image.OPEN.
    Image.init()
    assert {"JPEG", "PNG", "WEBP"} <= Image.OPEN.keys(), "Image.OPEN has moved"
    assert Image.registered_extensions()[".jpg"] == "JPEG", "Image.registered_extensions has changed"


def test_compiled_code_is_kept_in_the_folder_that_a_variable_names(monkeypatch, tmp_path):
    # keep_compiled_code_private sets the variable; torch's default is a name in /tmp that another user can take first.
    from torch._inductor.runtime.cache_dir_utils import cache_dir, default_cache_dir

    assert default_cache_dir().startswith(os.path.join(tempfile.gettempdir(), "torchinductor_"))
    monkeypatch.setenv(COMPILED_VARIABLE, str(tmp_path / "compiled"))
    assert cache_dir() == str(tmp_path / "compiled")


def test_a_tensor_larger_than_its_record_is_refused(tmp_path):
    # Nothing here compares them: torch would otherwise read memory behind the record.
    torch.save({"x": torch.zeros(4)}, tmp_path / "a")
    with zipfile.ZipFile(tmp_path / "a") as source, zipfile.ZipFile(tmp_path / "b", "w") as target:
        for member in source.infolist():
            data = source.read(member)
            if member.filename.endswith("data.pkl"):
                changed = data.replace(b"K\x04t", b"M\xff\xfft").replace(b"K\x04\x85", b"M\xff\xff\x85")
                assert changed != data, "torch pickles sizes in another way"
                data = changed
            target.writestr(member.filename, data)
    with pytest.raises(RuntimeError, match="does not match"):
        torch.load(tmp_path / "b", weights_only=True)
