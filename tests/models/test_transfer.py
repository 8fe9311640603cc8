from collections import OrderedDict

import pytest
import torch

from inat.errors import ConfigError
from inat.models.backbones import build_backbone
from tests.models.published import published


@pytest.fixture(scope="module")
def mobilenet() -> OrderedDict[str, torch.Tensor]:
    return published("mobilenet_v2")


@pytest.fixture(scope="module")
def vit() -> OrderedDict[str, torch.Tensor]:
    return published("vit_b_16")


def test_weights_of_another_network_are_refused_with_the_first_keys(mobilenet):
    body = [key for key in mobilenet if key.startswith("features.1.")]
    damaged = OrderedDict((key, tensor) for key, tensor in mobilenet.items() if key not in body[:4])
    damaged |= {"extra": torch.zeros(1), "features.18.0.weight": torch.zeros(7)}
    with pytest.raises(ConfigError) as caught:
        build_backbone("mobilenet_v2", 10, state_dict=damaged)
    assert str(caught.value) == (
        f"these are not weights of mobilenet_v2: 4 missing ({', '.join(body[:3])}, ...); 1 unexpected (extra); "
        "1 of another shape (features.18.0.weight (7,) for (1280, 320, 1, 1))"
    )


@pytest.mark.parametrize("classes", [None, 7])
def test_the_head_in_the_weights_is_ignored(mobilenet, classes):
    state = OrderedDict((key, tensor) for key, tensor in mobilenet.items() if not key.startswith("classifier"))
    if classes:
        state |= {"classifier.1.weight": torch.zeros(classes, 1280), "classifier.1.bias": torch.zeros(classes)}
    given = list(state)
    network = build_backbone("mobilenet_v2", 10, state_dict=state)
    assert list(state) == given
    assert torch.equal(network.features0[0].weight, mobilenet["features.0.0.weight"])
    assert network.head.linear.weight.shape == (10, 1280)


def test_files_of_older_formats_are_read(mobilenet, vit):
    older = {key: tensor for key, tensor in mobilenet.items() if not key.endswith("num_batches_tracked")}
    network = build_backbone("mobilenet_v2", 10, state_dict=older)
    assert {int(tensor) for key, tensor in network.state_dict().items() if key.endswith("num_batches_tracked")} == {0}
    older = {key.replace("mlp.0.", "mlp.linear_1.").replace("mlp.3.", "mlp.linear_2."): t for key, t in vit.items()}
    network = build_backbone("vit_b_16", 10, state_dict=older)
    expected = vit["encoder.layers.encoder_layer_11.mlp.3.weight"]
    assert torch.equal(network.encoder_layer_11.block.mlp[3].weight, expected)


def test_positions_of_a_vision_transformer_are_interpolated_to_other_sizes(vit):
    before = vit["encoder.pos_embedding"].clone()
    network = build_backbone("vit_b_16", 10, image_size=432, state_dict=vit)
    assert torch.equal(vit["encoder.pos_embedding"], before)
    positions = network.embed.pos_embedding
    assert torch.equal(positions[:, 0], before[:, 0])
    # 14 positions per side become 27, of which every second one is an original.
    grid, original = positions[:, 1:].reshape(27, 27, -1), before[:, 1:].reshape(14, 14, -1)
    assert torch.allclose(grid[::2, ::2], original, atol=1e-5)
    assert not torch.allclose(grid[1::2, 1::2], original[1:, 1:], atol=1e-2)
    with pytest.raises(ConfigError, match="vit_b_16 needs images of a multiple of 16 px, but image_size is 100"):
        build_backbone("vit_b_16", 10, image_size=100, state_dict=vit)
    vit_of_another = OrderedDict(vit, **{"encoder.pos_embedding": torch.zeros(1, 12, 768)})
    with pytest.raises(ConfigError, match=r"1 of another shape \(encoder.pos_embedding \(1, 12, 768\) for \(1, 197"):
        build_backbone("vit_b_16", 10, state_dict=vit_of_another)
