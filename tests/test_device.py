import os
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import pytorch_lightning as pl
import torch

from inat import device
from inat.config.trial import TrialConfig
from inat.data.resident import Gpu, room_of
from inat.device import gpu_share, kind, this_device
from inat.errors import ConfigError
from inat.training import inference
from inat.training.fit import trainer_for
from inat.training.precision import resolve_precision
from tests.paths import ROOT


@pytest.fixture
def see_apple(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)


def accelerator_of(cnn_params, monkeypatch) -> str:
    given = {}
    monkeypatch.setattr(pl, "Trainer", given.update)
    monkeypatch.setattr("inat.training.fit.pl.Trainer", lambda **options: given.update(options))
    trainer_for(TrialConfig.from_params(cnn_params), [])
    return given["accelerator"]


def test_the_share_decides_between_a_gpu_and_the_cpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with gpu_share(1):
        assert kind() == "cuda"
    with gpu_share(0):
        assert (kind(), this_device()) == ("cpu", torch.device("cpu"))
    assert kind() == "cuda"  # nobody has said


def test_a_process_without_a_gpu_takes_the_cpu_unless_it_was_promised_one(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert kind() == "cpu"
    with pytest.raises(ConfigError, match="cannot use the GPU of this machine"), gpu_share(1):
        device.claim_share()
    with gpu_share(0):
        device.claim_share()


def test_without_a_share_the_gpu_is_hidden_from_libraries_too(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    monkeypatch.delenv("HIP_VISIBLE_DEVICES", raising=False)
    with gpu_share(0):
        assert [os.environ[name] for name in device.VISIBLE] == ["", ""]
    assert [os.environ.get(name) for name in device.VISIBLE] == ["3", None]


def test_lightning_trains_where_the_share_says(see_gpu, cnn_params):
    with gpu_share(0):
        trainer = trainer_for(TrialConfig.from_params(cnn_params), [])
    assert trainer.strategy.root_device.type == "cpu"


def test_an_apple_gpu_serves_training_features_and_inference_alike(see_apple, cnn_params, monkeypatch):
    assert this_device().type == "mps"
    assert accelerator_of(cnn_params, monkeypatch) == "mps"
    assert resolve_precision("auto") == "32-true"
    classifier = SimpleNamespace(places=[])
    classifier.to = lambda place, **layout: classifier.places.append(place)
    monkeypatch.setattr(inference, "load_checkpoint", lambda path: SimpleNamespace(classifier=classifier))
    monkeypatch.setattr(inference, "model_file", lambda path: path)
    assert inference.open_model(Path("best.ckpt")).device == torch.device("mps")
    assert classifier.places == [torch.device("mps")]


def test_no_other_module_chooses_a_device():
    chooses = re.compile(r"torch\.cuda\.(is_available|device_count)\(|mps\.is_available\(|accelerator=\"auto\"")
    paths = [path for path in ROOT.glob("inat/**/*.py") if chooses.search(path.read_text(encoding="utf-8"))]
    assert sorted(paths) == [ROOT / "inat" / "device.py", ROOT / "inat" / "gpus.py"]


@pytest.fixture
def memory_of(see_gpu, monkeypatch):
    """A GPU of 10 GB, of which ``free`` are free and ``reserved`` belong to this process; limits are collected."""
    limits = []
    facts = type("Facts", (), {"total_memory": 10 * 10**9})

    def set_up(free: float, reserved: float = 0) -> list[float]:
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: facts)
        monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", limits.append)
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda place: (int(free), 10 * 10**9))
        monkeypatch.setattr(torch.cuda, "memory_reserved", lambda place: int(reserved))
        monkeypatch.setattr(torch.cuda, "memory_allocated", lambda place: int(reserved))
        return limits

    return set_up


def test_trials_that_share_a_gpu_keep_to_their_part_of_its_memory(memory_of):
    limits = memory_of(free=9e9)
    with gpu_share(1):
        device.claim_share()
        assert limits == []
        assert device.own_share() == 1
    with gpu_share(0.4):  # two on the GPU
        device.claim_share()
        assert limits == [pytest.approx(0.5 - 0.08)]
        assert device.own_share() == 0.5
    assert device.own_share() == 1


def test_images_stay_on_the_gpu_only_if_they_fit_into_the_part_of_the_trial(memory_of):
    memory_of(free=9e9)
    gpu = Gpu(torch.device("cuda"))
    assert room_of(gpu, device.own_share()) == 4.5e9
    with gpu_share(0.5):
        assert room_of(gpu, device.own_share()) == 2.5e9
    memory_of(free=1e9)
    assert room_of(gpu, device.own_share()) == 0.5e9


def test_random_numbers_of_the_trial_go_on_as_if_nothing_had_been_drawn():
    torch.manual_seed(3)
    expected = torch.rand(2).tolist()
    torch.manual_seed(3)
    with device.kept_random_state(torch.device("cpu")):
        torch.rand(7)
    assert torch.rand(2).tolist() == expected
