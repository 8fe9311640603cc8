import numpy as np
import pytest
import torch
from captum.attr import LayerGradCam
from PIL import Image
from torch import nn

from inat.config.trial import TrialConfig
from inat.interpret import saliency
from inat.interpret.__main__ import main
from inat.interpret.examples import InterpretOptions, load_example, network_input
from inat.interpret.layers import Layer, grad_cam_layer
from inat.interpret.saliency import grad_cam, guided_gradients, random_neurons
from inat.training.fit import fit
from inat.training.inference import open_model
from tests.conftest import Rows
from tests.interpret.nets import BACKBONES, Failing, backbone, cnn, hooks


@pytest.fixture
def drawn(monkeypatch):
    """The arguments of each call of ``saliency.draw``."""
    calls = []
    draw = saliency.draw
    monkeypatch.setattr(saliency, "draw", lambda *arguments: calls.append(arguments) or draw(*arguments))
    return calls


def test_ten_neurons_of_the_last_convolution_and_the_predicted_class_are_drawn(digits_model, tmp_path, drawn):
    model, options = open_model(digits_model), InterpretOptions(model=digits_model, output=tmp_path, seed=3)
    saliency.draw_saliency(model, options, None)
    ((example, prediction, cam_title, heat, neurons, title),) = drawn
    net, image = model.checkpoint.classifier.net, network_input(model, load_example(model, options, None))
    assert title == "Guided back-propagation of 10 random neurons of conv2, 8 maps of 8 x 8"
    chosen = random_neurons((8, 8, 8), 10, seed=3)
    gradients = guided_gradients(net, image, Layer("conv2", net.conv2), chosen).permute(0, 2, 3, 1)
    assert np.array_equal(np.stack([gradient for _, gradient in neurons]), gradients.numpy())
    with torch.no_grad():
        value = float(net[:5](image.unsqueeze(0))[0, *chosen[0]])  # conv1, norm1, act1, pool1, conv2
    assert neurons[0][0] == f"map {chosen[0].channel} at ({chosen[0].row}, {chosen[0].column})\nvalue {value:.3g}"
    confidences = model.confidences(example.image[None])[0]
    best = int(confidences.argmax())
    assert prediction == f"pred: {best} {confidences[best]:.0%}"
    assert cam_title == f"Grad-CAM for {best}\nact2"
    assert np.array_equal(heat, grad_cam(net, image, best).numpy())
    assert hooks(net) == 0
    assert np.asarray(Image.open(tmp_path / "guided-backprop.png")).std() > 10


def test_a_backbone_with_frozen_stages_can_be_drawn(backbone_params, tmp_path, drawn):
    path = tmp_path / "best.ckpt"
    fit(TrialConfig.from_params(backbone_params | {"max_epochs": 1}), [Rows(weights=path)])
    saliency.draw_saliency(open_model(path), InterpretOptions(model=path, cache_dir=tmp_path / "cache"), None)
    ((_, _, cam_title, _, neurons, title),) = drawn
    assert title.endswith("of features18.block.0, 1,280 maps of 1 x 1")
    assert cam_title.endswith("\nfeatures18.block")
    assert all(np.isfinite(gradient).all() for _, gradient in neurons)
    assert (tmp_path / "interpret/guided-backprop.png").exists()


@pytest.mark.parametrize(
    ("arguments", "written"),
    [
        (["predictions", "--worst"], ["predictions-worst.png"]),
        (["filters", "--layers", "conv1", "--photo", "PHOTO"], ["1-conv1-kernels.png", "1-conv1-maps.png"]),
        (["guided-backprop", "--seed", "3"], ["guided-backprop.png"]),
    ],
)
def test_the_commands(digits_model, tmp_path, monkeypatch, arguments, written):
    Image.new("RGB", (30, 20), "red").save(tmp_path / "photo.png")
    given = [str(tmp_path / "photo.png") if word == "PHOTO" else word for word in arguments]
    out = tmp_path / "out"
    monkeypatch.setattr("sys.argv", ["interpret", *given, str(digits_model), "--output", str(out)])
    if arguments[0] == "filters":  # the last option takes several words
        monkeypatch.setattr("sys.argv", ["interpret", "filters", str(digits_model), *given[1:], "--output", str(out)])
    main()
    assert sorted(path.name for path in out.rglob("*.png")) == written


def test_a_missing_model_is_reported_in_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["interpret", "filters", str(tmp_path)])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith(f"error: {tmp_path} has neither a best.ckpt nor a model.ckpt; pass a")


SLOW = {"inception_v3", "vgg16", "efficientnet_v2_s", "googlenet"}


def test_grad_cam_of_a_network_computed_by_hand():
    """With average pooling, the weight of a map is the weight of its mean, divided by its pixels: here 4."""
    net = nn.Sequential(
        nn.Conv2d(3, 2, 1, bias=False), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 2)
    ).eval()
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([[1.0, 0, 0], [0, 1.0, 0]]).view(2, 3, 1, 1))
        net[4].weight.copy_(torch.tensor([[8.0, -4.0], [-8.0, 4.0]]))
    image = torch.tensor([[[1.0, 2], [3, -1]], [[4.0, 0], [6, 5]], [[9.0, 9], [9, 9]]])
    # relu(red * 8 / 4 - green * 4 / 4) of the maps, which are relu(red) and relu(green)
    assert grad_cam(net, image, 0).tolist() == [[0, 4], [0, 0]]
    assert grad_cam(net, image, 1).tolist() == [[2, 0], [0, 5]]
    assert hooks(net) == 0


def test_grad_cam_of_a_cnn_equals_captums():
    net, image = cnn("gelu"), torch.randn(3, 16, 16)
    reference = LayerGradCam(net, net.act2).attribute(image.unsqueeze(0), 1, relu_attributions=True)
    heat = grad_cam(net, image, 1)
    assert heat.shape == (16, 16)
    assert float(heat.max()) > 0
    expected = nn.functional.interpolate(reference, (16, 16), mode="bilinear")[0, 0]
    torch.testing.assert_close(heat, expected.detach())


def test_grad_cam_of_a_vision_transformer_ignores_the_class_token():
    net, image = backbone("vit_b_16")
    stages = dict(net.named_children())
    *before, last, head = stages.values()
    with torch.no_grad():
        flow = image.unsqueeze(0)
        for stage in before:
            flow = stage(flow)
        normed = last.block.ln_1(flow)
    normed.requires_grad_()
    attended, _ = last.block.self_attention(normed, normed, normed, need_weights=False)
    middle = flow + attended
    head(last.token(last.norm(middle + last.block.mlp(last.block.ln_2(middle)))))[0, 2].backward()
    weights = normed.grad[0, 1:].mean(0)
    coarse = (normed.detach()[0, 1:] @ weights).relu().view(1, 1, 3, 3)
    expected = nn.functional.interpolate(coarse, image.shape[1:], mode="bilinear")[0, 0]
    torch.testing.assert_close(grad_cam(net, image, 2), expected, rtol=1e-3, atol=1e-4 * float(expected.max()))


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] if n in SLOW else []) for n in BACKBONES])
def test_every_backbone_has_a_grad_cam_and_is_left_unchanged(name):
    net, image = backbone(name)
    maps = [grad_cam(net, image, target) for target in range(3)]
    assert all(heat.shape == image.shape[1:] and heat.isfinite().all() and heat.min() >= 0 for heat in maps)
    assert any(float(heat.max()) > 0 for heat in maps)
    assert hooks(net) == 0
    assert not any(parameter.grad is not None for parameter in net.parameters())


def test_hooks_are_removed_if_the_network_fails():
    net, image = cnn(), torch.randn(3, 16, 16)
    layer = grad_cam_layer(net, image.unsqueeze(0))
    net.dropout = Failing()
    with pytest.raises(ValueError, match="on purpose"):
        grad_cam(net, image, 0, layer)
    vit, patches = backbone("vit_b_16")
    vit.head = Failing()
    with pytest.raises(ValueError, match="on purpose"):
        grad_cam(vit, patches, 0)
    assert hooks(net) == hooks(vit) == 0
