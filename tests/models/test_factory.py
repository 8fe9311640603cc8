import pytest
import torch

from inat.config.trial import TrialConfig
from inat.errors import ConfigError
from inat.models.factory import build_network, load_pretrained, trainable_stages, uninitialised_network
from tests.models.published import published


@pytest.fixture
def config_of(backbone_params):
    return lambda **changes: TrialConfig.from_params(backbone_params | changes)


def test_trials_share_frozen_stages_and_own_the_others(config_of):
    one, two = (build_network(config_of(strategy="freeze_partial", k_layers=1), 2) for _ in range(2))
    for (key, first), (_, second) in zip(one.named_parameters(), two.named_parameters(), strict=True):
        shared = not key.startswith(("features18.", "head."))
        assert (first is second) is shared, key
        assert first.requires_grad is not shared, key


def test_unfreezing_one_network_does_not_change_another_with_the_same_stages(config_of):
    frozen = build_network(config_of(), 2).train()
    thawed = build_network(config_of(strategy="unfreeze_all"), 2).train()
    assert all(parameter.requires_grad for parameter in thawed.parameters())
    assert [name for name, p in frozen.named_parameters() if p.requires_grad] == [
        "head.linear.weight",
        "head.linear.bias",
    ]
    assert not any(module.training for stage in list(frozen)[:-1] for module in stage.modules())
    before = frozen.features0[1].running_mean.clone()
    thawed(torch.randn(2, 3, 32, 32)).sum().backward()
    assert torch.equal(frozen.features0[1].running_mean, before)


def test_the_body_comes_from_the_file_and_the_head_is_new(config_of):
    state = published("mobilenet_v2")
    torch.manual_seed(0)
    network = build_network(config_of(), 5)
    assert torch.equal(network.features0[0].weight, state["features.0.0.weight"])
    assert network.head.linear.weight.shape == (5, 1280)
    assert len(network.weights) == 64


def test_a_new_head_depends_only_on_the_random_state_of_the_caller(config_of):
    heads = []
    for seed, classes in ((1, 3), (1, 2), (1, 2), (2, 2)):  # another number of classes loads the network again
        torch.manual_seed(seed)
        heads.append(trainable_stages(load_pretrained(config_of().model, 32, classes)).head.linear.weight)
    assert torch.equal(heads[1], heads[2])
    assert not torch.equal(heads[1], heads[3])


def test_random_bodies_are_the_same_for_all_trials(config_of):
    bodies = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        bodies.append(load_pretrained(config_of(weights="none").model, 32, 2).prefix().state_dict())
        load_pretrained(config_of().model, 32, 2)  # replaces the cached network
    assert bodies[0]["features0.0.weight"] is not bodies[1]["features0.0.weight"]
    assert all(torch.equal(tensor, bodies[1][key]) for key, tensor in bodies[0].items())


def test_a_replaced_file_of_weights_is_noticed(config_of, tmp_path):
    state = published("mobilenet_v2")
    torch.save(state, tmp_path / "mobilenet_v2.pth")
    config = config_of(weights_dir=str(tmp_path))
    before = build_network(config, 2)
    torch.save({key: tensor + 1 for key, tensor in state.items()}, tmp_path / "mobilenet_v2.pth")
    after = build_network(config, 2)
    assert before.weights != after.weights
    assert torch.equal(after.features0[0].weight, before.features0[0].weight + 1)


def test_other_weights_than_those_of_the_study_are_refused(config_of, tmp_path):
    torch.save(published("mobilenet_v2"), tmp_path / "mobilenet_v2.pth")
    known = build_network(config_of(weights_dir=str(tmp_path)), 2).weights
    assert build_network(config_of(weights_dir=str(tmp_path), weights_sha256=known), 2).weights == known
    torch.save({k: t + 1 for k, t in published("mobilenet_v2").items()}, tmp_path / "mobilenet_v2.pth")
    with pytest.raises(ConfigError, match=r"mobilenet_v2 in .*mobilenet_v2.pth are not those the study began with"):
        build_network(config_of(weights_dir=str(tmp_path), weights_sha256=known), 2)


def test_an_uninitialised_network_has_the_keys_of_an_initialised_one(config_of):
    model = config_of().model
    full, empty = build_network(config_of(), 2), uninitialised_network(model, 32, 2)
    shapes = [{key: tensor.shape for key, tensor in net.state_dict().items()} for net in (full, empty)]
    assert shapes[0] == shapes[1]
    assert empty.frozen == full.frozen == 19


def test_images_that_are_too_small_are_refused(config_of):
    with pytest.raises(ConfigError, match="vgg16 needs images of at least 32 px, but image_size is 16"):
        build_network(config_of(backbone="vgg16", weights="none", image_size=16), 2)
