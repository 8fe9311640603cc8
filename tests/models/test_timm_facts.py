"""Facts about timm's models are found out once."""

import pytest
import torch

from inat.config.backbones import BackboneConfig
from inat.errors import ConfigError
from inat.models import timm_facts
from inat.models.backbones import build_backbone, stage_names, without_memory
from inat.models.factory import count_trained
from inat.models.timm_facts import parameters_of_timm, stages_of_timm
from inat.models.timm_search import model_table


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(timm_facts, "FOLDER", tmp_path / "cache")
    return tmp_path / "cache"


def never():
    raise AssertionError("it is known")


def test_a_fact_is_computed_once_for_each_model_and_kind(folder):
    assert stages_of_timm("timm:a", lambda: ("stem", "head")) == ("stem", "head")
    assert stages_of_timm("timm:a", never) == ("stem", "head")
    assert parameters_of_timm("timm:a", lambda: 7) == 7
    assert parameters_of_timm("timm:a", never) == 7
    assert stages_of_timm("timm:b", lambda: ("head",)) == ("head",)
    assert folder.stat().st_mode & 0o777 == 0o700


def test_what_cannot_be_counted_is_tried_again():
    assert parameters_of_timm("timm:a", lambda: None) is None
    assert parameters_of_timm("timm:a", lambda: 7) == 7


@pytest.mark.parametrize(
    "damage", [b"", b"\x00\xff{", b'{"name": "timm:a", "stages": 3}\n', b'{"name": "timm:a"', b"[]"]
)
def test_damaged_lines_count_as_missing(folder, damage):
    stages_of_timm("timm:a", lambda: ("stem", "head"))
    (file,) = folder.iterdir()
    file.write_bytes(damage)
    assert stages_of_timm("timm:a", lambda: ("again",)) == ("again",)
    assert stages_of_timm("timm:a", never) == ("again",)


def test_a_cache_that_cannot_be_written_changes_nothing(folder):
    folder.write_text("no folder")
    assert stages_of_timm("timm:a", lambda: ("stem",)) == ("stem",)


def test_another_version_of_timm_counts_again(monkeypatch):
    stages_of_timm("timm:a", lambda: ("stem",))
    monkeypatch.setattr(timm_facts, "version", lambda name: "0.1")
    assert stages_of_timm("timm:a", lambda: ("other",)) == ("other",)


def test_the_second_look_at_a_backbone_builds_nothing(monkeypatch):
    stage_names.cache_clear()
    names = stage_names("timm:test_convnext")
    assert names == tuple(name for name, _ in build_backbone("timm:test_convnext", 1).named_children())
    stage_names.cache_clear()
    monkeypatch.setattr("inat.models.backbones.without_memory", never)
    assert stage_names("timm:test_convnext") == names
    stage_names.cache_clear()
    table = model_table(["test_vit3.r160_in1k"])
    monkeypatch.setattr("inat.models.timm_search._count", never)
    assert list(model_table(["test_vit3.r160_in1k"]).columns[1].cells) == list(table.columns[1].cells)


@pytest.mark.parametrize("name", ["timm:test_vit", "timm:test_resnet", "timm:test_byobnet"])
def test_a_network_without_memory_has_the_same_layers(name):
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    counted = without_memory(name, 5)
    assert torch.equal(torch.rand(1), expected)  # the random numbers of this process are as they were
    built = build_backbone(name, 5)
    assert [(path, p.shape) for path, p in counted.named_parameters()] == [
        (path, p.shape) for path, p in built.named_parameters()
    ]
    assert counted.note == built.note
    model = BackboneConfig(backbone=name, strategy="unfreeze_all", weights="none")
    assert count_trained(model, 160, 5) == sum(p.numel() for p in built.parameters())


def test_a_huge_model_takes_no_memory():
    network = without_memory("timm:eva02_enormous_patch14_clip_224", 10)  # 17 GB of values
    assert sum(parameter.numel() for parameter in network.parameters()) == 4_348_738_826
    assert {parameter.device.type for parameter in network.parameters()} == {"meta"}


def test_an_unknown_model_is_one_sentence():
    with pytest.raises(ConfigError, match="unknown backbone 'timm:no_such_model'"):
        stage_names("timm:no_such_model")
