import subprocess
import sys

import pytest
import torch
from torch import nn
from torchvision.models import WeightsEnum, get_model

from inat.config.backbones import BACKBONE_FACTS, BACKBONE_NAMES, STRATEGIES
from inat.errors import ConfigError
from inat.models.backbones import (
    BackbonesCommand,
    StagedNetwork,
    build_backbone,
    frozen_stage_count,
    show,
    stage_names,
)
from inat.models.published_backbones import BACKBONES
from tests.models.published import published

pytestmark = pytest.mark.usefixtures("one_thread")

# Small image sizes; the published vision transformer accepts only its own size.
SIDES = dict.fromkeys(BACKBONE_NAMES, 64) | {"vit_b_16": 224, "inception_v3": 96}
BODIES = {name: facts.stages for name, facts in BACKBONE_FACTS.items()}


def images_for(side: int, count: int = 2) -> torch.Tensor:
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(1))


def test_all_strategies_freeze_some_number_of_stages():
    for strategy in STRATEGIES:
        assert frozen_stage_count("resnet50", strategy, 1) in range(6)


@pytest.mark.parametrize("name", BACKBONE_NAMES)
def test_outputs_have_the_bits_of_torchvision(name, monkeypatch):
    state = published(name)
    monkeypatch.setattr(WeightsEnum, "get_state_dict", lambda *_, **__: state)
    reference = get_model(name, weights=BACKBONES[name].weights).eval()  # built as for its published weights
    features = []
    output = [module for module in reference.modules() if isinstance(module, nn.Linear)][-1]
    output.register_forward_pre_hook(lambda module, given: features.append(given[0]))
    network = build_backbone(name, 10, state_dict=state).eval()
    images = images_for(SIDES[name])
    with torch.no_grad():
        expected = reference(images)
        assert torch.equal(StagedNetwork(BACKBONES[name].stages(reference)).eval()(images), expected)
        network.freeze(frozen_stage_count(network, "freeze_all"))
        assert torch.equal(network.prefix()(images), features[0])
        assert network(images).shape == (2, 10)
    assert features[0].dim() == 2
    assert expected.isfinite().all()
    assert not torch.equal(expected[0], expected[1])


@pytest.mark.parametrize("name", BACKBONE_NAMES)
def test_training_does_not_change_frozen_stages(name):
    side = 32 if name == "vit_b_16" else SIDES[name]
    torch.manual_seed(0)
    network = build_backbone(name, 3, image_size=side).train()
    for strategy, k_layers in (("freeze_partial", 1), ("freeze_all", None)):
        network.freeze(frozen_stage_count(network, strategy, k_layers))
        assert network.frozen == BODIES[name] - (k_layers or 0)
        before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
        optimizer = torch.optim.AdamW(network.parameters(), lr=0.01, weight_decay=0.1)
        for _ in range(2):
            optimizer.zero_grad()
            network.train()(images_for(side)).square().sum().backward()
            optimizer.step()
        assert all(p.grad is None for p in network.prefix().parameters())
        assert_only_trained_stages_moved(network, before)


def assert_only_trained_stages_moved(network: StagedNetwork, before: dict[str, torch.Tensor]) -> None:
    frozen = network.prefix().state_dict()
    for key, tensor in network.state_dict().items():
        if key in frozen:
            assert torch.equal(tensor, before[key]), key
    for key, _ in network.suffix().named_parameters():
        assert not torch.equal(network.get_parameter(key), before[key]), key


@pytest.mark.parametrize("name", BACKBONE_NAMES)
def test_every_parameter_trains_when_nothing_is_frozen_and_no_stage_changes_its_input(name):
    side = 32 if name == "vit_b_16" else SIDES[name]
    torch.manual_seed(0)
    network = build_backbone(name, 3, image_size=side).train()
    network.freeze(frozen_stage_count(network, "unfreeze_all"))
    flow = images_for(side)
    for stage in network:  # the input of a stage may be features that are kept for the next epoch
        given, version = flow, flow._version
        flow = stage(flow)
        assert given._version == version
    flow.square().sum().backward()
    assert [key for key, p in network.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize("name", BACKBONE_NAMES)
def test_the_smallest_images_are_accepted_and_smaller_ones_refused(name):
    smallest = BACKBONES[name].min_size
    with torch.device("meta"):
        network = build_backbone(name, 3, image_size=smallest).eval()
        assert network(torch.empty(1, 3, smallest, smallest)).shape == (1, 3)
    message = f"{name} needs images of at least {smallest} px, but image_size is {smallest - 1}"
    with pytest.raises(ConfigError, match=message):
        build_backbone(name, 3, image_size=smallest - 1)


def test_published_facts():
    sizes = {name: (backbone.image_size, backbone.min_size) for name, backbone in BACKBONES.items()}
    published = {
        "googlenet": (224, 15), "inception_v3": (299, 75), "resnet50": (224, 1), "vgg16": (224, 32),
        "efficientnet_v2_s": (384, 33), "vit_b_16": (224, 16), "mobilenet_v2": (224, 1),
    }  # fmt: skip
    assert sizes | published == sizes
    resnet = BACKBONES["resnet50"]
    assert (resnet.mean, resnet.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert (resnet.top1, resnet.parameters, resnet.file_name) == (80.858, 25_557_032, "resnet50-11ad3fa6.pth")


@pytest.mark.parametrize(("name", "body"), BODIES.items())
def test_strategies_count_stages(name, body):
    assert len(stage_names(name)) == body + 1
    assert stage_names(name)[-1] == "head"
    assert frozen_stage_count(name, "freeze_all") == body
    assert [frozen_stage_count(name, "freeze_partial", k) for k in (1, 2, body)] == [body - 1, body - 2, 0]
    assert frozen_stage_count(name, "unfreeze_all") == 0
    for wrong in (0, body + 1, None):
        with pytest.raises(ConfigError, match=rf"k_layers must be in 1..{body} for freeze_partial of {name}, got "):
            frozen_stage_count(name, "freeze_partial", wrong)


def test_names_of_the_stages():
    assert stage_names("resnet50") == ("stem", "layer1", "layer2", "layer3", "layer4", "head")
    assert stage_names("vgg16") == ("block1", "block2", "block3", "block4", "block5", "fc6", "fc7", "head")
    assert stage_names("vit_b_16")[:2] == ("embed", "encoder_layer_0")
    assert stage_names("googlenet")[1:4] == ("inception3a", "inception3b", "inception4a")


def test_unknown_names_are_refused_with_the_known_ones():
    with pytest.raises(ConfigError, match="unknown backbone 'resnet'; choose from googlenet, inception_v3, resnet50"):
        build_backbone("resnet", 10)
    with pytest.raises(ConfigError, match="unknown strategy 'half'; choose from freeze_all, freeze_partial, unf"):
        frozen_stage_count("resnet50", "half")
    with pytest.raises(ConfigError, match="num_classes must be positive, got 0"):
        build_backbone("resnet50", 0)


def test_the_new_head_depends_only_on_the_seed():
    mobilenet = published("mobilenet_v2")
    heads = []
    for seed, state in ((0, mobilenet), (0, {key: tensor + 1 for key, tensor in mobilenet.items()}), (1, mobilenet)):
        torch.manual_seed(seed)
        heads.append(build_backbone("mobilenet_v2", 10, state_dict=state).head.linear.weight)
    assert torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[0], heads[2])
    assert heads[0].std() > 0


def test_the_command_prints_stages_facts_and_what_strategies_train(capsys):
    show(BackbonesCommand(names=("resnet50",), num_classes=10))
    printed = capsys.readouterr().out
    for fact in ("224 px, at least 1 px", "0.485 0.456 0.406", "80.858 % top-1", "resnet50-11ad3fa6.pth"):
        assert fact in printed
    rows = [[cell.strip() for cell in line.strip("│").split("│")] for line in printed.splitlines() if "│" in line]
    assert rows[0] == ["stem", "9,536", "unfreeze_all", "23,528,522"]
    assert rows[4] == ["layer4", "14,964,736", "freeze_partial, k_layers=1", "14,985,226"]
    assert rows[5] == ["head", "20,490", "freeze_all", "20,490"]


def test_a_wrong_name_on_the_command_line_is_one_line_and_exit_code_2():
    command = [sys.executable, "-m", "inat.models.backbones", "resnet"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: unknown backbone 'resnet'; choose from googlenet, ")
    assert done.stderr.endswith(", or from timm's models: `inat backbones --search WORD`\n")
