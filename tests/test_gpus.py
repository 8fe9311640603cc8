import pytest
import torch

from inat.gpus import Gpu, Survey, incompatible_error, survey, unavailable_error


def gpu(name: str, major: int, minor: int) -> Gpu:
    return Gpu(name, (major, minor), 24 * 10**9, 20 * 10**9, 128)


@pytest.mark.parametrize(
    ("capability", "architectures", "usable"),
    [
        ((8, 0), ["sm_80", "sm_90"], True),
        ((8, 6), ["sm_80", "sm_90"], True),  # binary code runs on later minor versions
        ((8, 9), ["sm_80"], True),
        ((7, 5), ["sm_80", "sm_90"], False),
        ((8, 0), ["sm_86"], False),
        ((9, 0), ["sm_80"], False),  # and on no later major version
        ((12, 0), ["sm_90", "compute_90"], True),  # which the driver compiles code for
        ((12, 0), ["sm_90a", "compute_90a"], False),
        ((9, 0), ["sm_90a"], True),
        ((10, 3), ["sm_100f"], True),
        ((12, 0), ["sm_100", "sm_120"], True),
        ((6, 1), ["sm_50", "sm_60"], True),
        ((6, 1), [], True),  # ROCm names others
    ],
)
def test_code_for_an_architecture_runs_where_nvidia_says(capability, architectures, usable):
    assert (incompatible_error([gpu("GPU", *capability)], architectures) == "") == usable


def test_a_gpu_without_kernels_is_named_with_its_capability_what_torch_has_and_a_cure(monkeypatch):
    monkeypatch.setattr(torch, "__version__", "2.11.0+cu130")
    gpus = [gpu("NVIDIA T4", 7, 5), gpu("NVIDIA GeForce GTX 1080", 6, 1)]
    assert incompatible_error(gpus, ["sm_75", "sm_80"]) == (
        "torch 2.11.0+cu130 cannot use the NVIDIA GeForce GTX 1080 (compute capability 6.1): it is built for sm_75, "
        "sm_80; install a torch that is built for it, hide it with CUDA_VISIBLE_DEVICES, "
        "or pass --gpus-per-trial 0 to train on the CPUs"
    )


def test_an_old_driver_is_told_in_the_first_sentence_of_torch(monkeypatch):
    monkeypatch.setattr(torch, "__version__", "2.11.0+cu130")
    warning = (
        "CUDA initialization: The NVIDIA driver on your system is too old (found version 11040). Please update your "
        "GPU driver by downloading and installing a new version"
    )
    assert unavailable_error(warning) == (
        "torch 2.11.0+cu130 cannot use the GPU of this machine (The NVIDIA driver on your system is too old (found "
        "version 11040)); update the driver, or install a torch that is built for it, or pass --gpus-per-trial 0 to "
        "train on the CPUs"
    )
    assert "machine; update" in unavailable_error("")


def test_the_survey_reads_the_facts_of_each_gpu(see_gpu, monkeypatch):
    facts = type("Facts", (), {"name": "NVIDIA Test", "major": 7, "minor": 0, "total_memory": 16 * 10**9,
                               "multi_processor_count": 80})  # fmt: skip
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: facts)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda index: (15 * 10**9, 16 * 10**9))
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: ["sm_80"])
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    found = survey()
    assert found.gpus == (Gpu("NVIDIA Test", (7, 0), 16 * 10**9, 15 * 10**9, 80),)
    assert "cannot use the NVIDIA Test (compute capability 7.0)" in found.problem
    monkeypatch.setattr(torch.version, "cuda", None)  # ROCm
    assert survey().problem == ""


def test_torch_without_cuda_says_so(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", None)
    monkeypatch.setattr(torch.version, "hip", None)
    assert "(it is built without CUDA); update the driver" in survey().problem
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert survey() == Survey(apple=True)
