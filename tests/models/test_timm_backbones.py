import copy

import pytest
import timm
import torch
from timm.data import resolve_model_data_config
from timm.models import VisionTransformer

from inat.config.trial import TrialConfig
from inat.constants import IMAGENET_MEAN, IMAGENET_STD
from inat.errors import ConfigError
from inat.finalize.export import to_exported_program
from inat.models import factory, frozen_features
from inat.models.backbones import BackbonesCommand, build_backbone, frozen_stage_count, show, stage_names
from inat.models.parameter_groups import parameter_groups
from inat.models.timm_backbones import timm_backbone
from inat.training.checkpoint import load_checkpoint
from inat.training.fit import fit
from tests.conftest import Rows

pytestmark = pytest.mark.usefixtures("one_thread")
VIT, CONVNEXT = "timm:test_vit.r160_in1k", "timm:test_convnext"


def normalised(images: torch.Tensor, mean, std) -> torch.Tensor:
    shape = (1, 3, 1, 1)
    return (images - torch.tensor(mean).view(shape)) / torch.tensor(std).view(shape)


@pytest.mark.parametrize("name", [VIT, CONVNEXT])
def test_published_weights_see_the_images_that_they_were_trained_for(name):
    torch.manual_seed(0)
    model = timm.create_model(name.removeprefix("timm:"), num_classes=7).eval()
    network = build_backbone(name, 7, state_dict=copy.deepcopy(model.state_dict())).eval()
    network.get_submodule(network.outputs[0]).load_state_dict(model.get_classifier().state_dict())
    settings = resolve_model_data_config(model)
    images = torch.rand(2, 3, 160, 160)
    with torch.no_grad():
        expected = model(normalised(images, settings["mean"], settings["std"]))
        assert torch.allclose(network(normalised(images, IMAGENET_MEAN, IMAGENET_STD)), expected, atol=1e-5)
    backbone = timm_backbone(name)
    assert (backbone.mean, backbone.std) == (settings["mean"], settings["std"])
    assert (backbone.interpolation, backbone.crop_pct) == (settings["interpolation"], settings["crop_pct"])
    assert (backbone.image_size, backbone.license) == (160, "apache-2.0")


def test_weights_for_another_image_size_and_other_classes_are_loaded_as_timm_does(tmp_path):
    state = timm.create_model("test_vit", num_classes=21).state_dict()
    torch.save(state, tmp_path / "weights.pth")
    file = str(tmp_path / "weights.pth")
    overlay = {"file": file, "num_classes": 21}
    theirs = timm.create_model("test_vit", pretrained=True, img_size=64, num_classes=21, pretrained_cfg_overlay=overlay)
    network = build_backbone("timm:test_vit", 3, image_size=64, state_dict=state)
    own = network.state_dict()
    assert torch.equal(own["stem.layers.pos_embed"], theirs.pos_embed)
    assert torch.equal(own["blocks_5.blocks.5.mlp.fc1.weight"], theirs.blocks[5].mlp.fc1.weight)
    assert own["head.head.weight"].shape == (3, 64)


def test_what_timm_spares_from_weight_decay_is_named_as_in_the_stages():
    network = build_backbone("timm:test_vit2", 3)
    assert network.undecayed == {"stem.layers.pos_embed", "stem.layers.reg_token"}
    assert network.undecayed <= dict(network.named_parameters()).keys()
    assert build_backbone(CONVNEXT, 3).undecayed == set()  # timm spares nothing


def test_copies_of_the_stages_that_train_spare_what_timm_spares(monkeypatch):
    spared = {"blocks.5.mlp.fc*.weight", "absent"}  # patterns are allowed, as in timm
    monkeypatch.setattr(VisionTransformer, "no_weight_decay", lambda model: spared)
    factory._load.cache_clear()
    params = {"data": "digits", "image_size": 32, "learning_rate": 0.01, "batch_size": 64, "max_epochs": 1,
              "weight_decay": 0.1, "optimizer": "adamw", "weights": "none"}  # fmt: skip
    config = TrialConfig.from_params({"backbone": VIT, "strategy": "freeze_partial", "k_layers": 1} | params)
    network = factory.build_network(config, 10)
    factory._load.cache_clear()  # the next test must not find this network
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    groups = parameter_groups(network, config.optim, body_rate=1.0)
    decayed = {names[id(p)] for group in groups if group["weight_decay"] for p in group["params"]}
    assert "blocks_5.blocks.5.attn.proj.weight" in decayed
    assert not any(name.endswith(("fc1.weight", "fc2.weight")) for name in decayed)


def test_the_new_head_depends_only_on_the_seed():
    heads = []
    states = [timm.create_model("test_convnext").state_dict() for _ in range(2)]
    for seed, state in ((0, states[0]), (0, states[1]), (1, states[0])):
        torch.manual_seed(seed)
        heads.append(build_backbone(CONVNEXT, 3, state_dict=state).state_dict()["head.head.fc.weight"])
    assert torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[0], heads[2])
    assert heads[0].std() > 0.01  # timm's own initialisation is smaller


@pytest.mark.parametrize(("name", "size", "message"), [
    ("timm:test_vitt", 64, "unknown backbone 'timm:test_vitt'; did you mean timm:test_vit, "),
    ("timm:test_vit.in22k", 64, "unknown weights 'in22k' of timm:test_vit; its weights are timm:test_vit.r160_in1k"),
    ("timm:zzz", 64, "unknown backbone 'timm:zzz'; `inat backbones --search WORD` lists timm's models"),
    ("timm:test_vit", 65, "timm:test_vit needs images of a multiple of 16 px, but image_size is 65"),
    ("timm:efficientformer_l1", 64, r"timm:efficientformer_l1 cannot take images of 64 px \(.*\); its own size is 224"),
])  # fmt: skip
def test_wrong_names_and_sizes_are_one_sentence(name, size, message):
    with pytest.raises(ConfigError, match=message):
        build_backbone(name, 3, image_size=size)


def test_weights_of_another_model_are_refused():
    with pytest.raises(ConfigError, match="these are not weights of timm:test_vit: Missing key.*; Unexpected key"):
        build_backbone("timm:test_vit", 3, state_dict=timm.create_model("test_convnext").state_dict())


def test_strategies_count_the_stages_of_timms_models():
    assert stage_names(CONVNEXT) == ("stem", "stages_0", "stages_1", "stages_2", "stages_3", "head")
    assert [frozen_stage_count(CONVNEXT, "freeze_partial", k) for k in (1, 5)] == [4, 0]
    with pytest.raises(ConfigError, match=rf"k_layers must be in 1..5 for freeze_partial of {CONVNEXT}, got 6"):
        frozen_stage_count(CONVNEXT, "freeze_partial", 6)


@pytest.mark.slow
def test_a_model_that_cannot_be_cut_only_trains_whole():
    name = "timm:crossvit_tiny_240"
    assert frozen_stage_count(name, "unfreeze_all") == 0
    with pytest.raises(ConfigError, match=f"{name} cannot be cut into stages and only trains whole; pass --strat"):
        frozen_stage_count(name, "freeze_all")


@pytest.fixture
def params(backbone_params, tmp_path):
    for name in ("test_vit", "test_convnext"):
        torch.manual_seed(0)
        torch.save(timm.create_model(name).state_dict(), tmp_path / f"{name}.r160_in1k.pth")
    return backbone_params | {"backbone": VIT, "image_size": 32, "max_epochs": 2, "weights_dir": str(tmp_path)}


@pytest.mark.parametrize("name", [VIT, f"{CONVNEXT}.r160_in1k"])
@pytest.mark.parametrize("strategy", [{"strategy": "freeze_all"}, {"strategy": "freeze_partial", "k_layers": 2}])
def test_training_on_features_equals_training_all(params, name, strategy, monkeypatch):
    monkeypatch.setattr(frozen_features, "BATCH_SIZE", params["batch_size"])
    rows = []
    for views in (4, 0):
        keeper = Rows()
        fit(TrialConfig.from_params(params | strategy | {"backbone": name, "views": views}), [keeper])
        rows.append(keeper.rows)
    assert rows[0] == rows[1]
    assert rows[0][0]["train_loss"] != rows[0][-1]["train_loss"]


@pytest.mark.parametrize("strategy", ["freeze_all", "unfreeze_all"])
def test_a_checkpoint_gives_the_network_back_and_can_be_exported(params, strategy, tmp_path):
    path = tmp_path / "trained.ckpt"
    keeper = Rows(weights=path)
    fit(TrialConfig.from_params(params | {"strategy": strategy, "max_epochs": 1}), [keeper])
    factory._load.cache_clear()  # as in a new process
    loaded = load_checkpoint(path)
    assert not any(module.training for module in loaded.classifier.modules())
    images = torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8)
    program = to_exported_program(loaded).module()
    with torch.no_grad():
        logits = loaded.classifier(normalised(images / 255, IMAGENET_MEAN, IMAGENET_STD))
        assert torch.allclose(program(images), logits.softmax(1), atol=1e-5)
    state = torch.load(path, weights_only=True)["state_dict"]
    assert {key.split(".")[1] for key in state} == ({"head"} if strategy == "freeze_all" else set(stage_names(VIT)))


def test_the_command_searches_timms_models_and_prints_one(capsys):
    show(BackbonesCommand(search="TEST_VIT3"))
    printed = capsys.readouterr().out
    assert "timm:test_vit3.r160_in1k     930,280  160 px     1000  apache-2.0" in printed
    show(BackbonesCommand(search="convnext_base.eupe"))  # a long licence takes no room from the numbers
    assert "  87,566,464  256 px        -  fair-noncommercial-research-license" in capsys.readouterr().out
    show(BackbonesCommand(names=(VIT,), num_classes=10))
    printed = capsys.readouterr().out
    for fact in ("160 px, resized bicubic, crop 0.95", "mean 0.5 0.5 0.5", "licence", "timm/test_vit.r160_in1k"):
        assert fact in printed
    rows = [[cell.strip() for cell in line.strip("│").split("│")] for line in printed.splitlines() if "│" in line]
    assert rows[-2:] == [
        ["blocks_5", "41,856", "freeze_partial, k_layers=1", "42,506"],
        ["head", "650", "freeze_all", "650"],
    ]
    with pytest.raises(ConfigError, match="timm has no pretrained model whose name contains 'zzz'; try a shorter word"):
        show(BackbonesCommand(search="zzz"))
