import numpy as np
import pytest
import torch
from PIL import Image

from inat.config.trial import TrialConfig
from inat.errors import ConfigError
from inat.interpret import explanations
from inat.interpret.__main__ import main
from inat.interpret.examples import InterpretOptions, load_example, network_input
from inat.interpret.layers import Layer
from inat.interpret.saliency import active_neurons, grad_cam, guided_gradients, integrated_gradients, random_neurons
from inat.training.fit import fit
from inat.training.inference import open_model
from tests.conftest import Rows
from tests.interpret.nets import hooks


@pytest.fixture
def drawn(monkeypatch):
    """The arguments of each call of ``draw``, and the figures that it returned."""
    calls = []
    draw = explanations.draw

    def recorded(*arguments):
        figure = draw(*arguments)
        calls.append((*arguments, figure))
        return figure

    monkeypatch.setattr(explanations, "draw", recorded)
    return calls


def test_active_and_random_neurons_of_the_last_convolution_are_drawn(digits_model, tmp_path, drawn):
    model, options = open_model(digits_model), InterpretOptions(model=digits_model, output=tmp_path, seed=3)
    picture = explanations.draw_saliency(model, options, None)
    ((example, prediction, (active, chance), titles, figure),) = drawn
    net, image = model.checkpoint.classifier.net, network_input(model, load_example(model, options, None))
    assert titles[1] == "What neurons of the layer conv2 (8 maps of 8 x 8 neurons) respond to in this photo"
    assert (active.title, chance.title) == ("The 10 most active neurons", "10 random neurons")
    with torch.no_grad():
        maps = net[:5](image.unsqueeze(0))[0]  # conv1, norm1, act1, pool1, conv2
    for block, neurons in ((active, active_neurons(maps, 10)), (chance, random_neurons((8, 8, 8), 10, seed=3))):
        gradients = guided_gradients(net, image, Layer("conv2", net.conv2), neurons).permute(0, 2, 3, 1)
        assert np.array_equal(np.stack([gradient for _, gradient in block.neurons]), gradients.numpy())
        first = neurons[0]
        value = float(maps[first])
        assert block.neurons[0][0] == f"map {first.channel}, row {first.row}, column {first.column}\noutput {value:.3g}"
    confidences = model.confidences(example.image[None])[0]
    best = int(confidences.argmax())
    assert (prediction.name, prediction.confidence, prediction.cam_layer) == (str(best), confidences[best], "act2")
    assert np.array_equal(prediction.cam, grad_cam(net, image, best).numpy())
    assert np.array_equal(prediction.pixels, integrated_gradients(net, image, best).numpy())
    shown = [axes.get_title() for axes in figure.axes]
    assert shown[0] == f"{example.name}\ntrue: {example.label}\npredicted: {best} {confidences[best]:.0%}"
    assert [title.split()[0].strip(",:") for title in shown[1:4]] == ["Grad-CAM", "Integrated", "Occlusion"]
    assert shown[1].endswith("\nlayer act2")
    assert hooks(net) == 0
    assert picture.path == tmp_path / "guided-backprop.png"
    assert example.name in picture.alt
    assert np.asarray(Image.open(picture.path)).std() > 10


def test_another_layer_can_be_named(digits_model, tmp_path, drawn):
    model, options = open_model(digits_model), InterpretOptions(model=digits_model, output=tmp_path)
    explanations.draw_saliency(model, options, None, "conv1")
    ((_, prediction, _, titles, _),) = drawn
    assert "layer conv1 (8 maps of 16 x 16 neurons)" in titles[1]
    assert prediction.cam_layer == "act1"
    with pytest.raises(ConfigError, match=r"unknown convolution layer 'conv7'; choose from conv1, conv2"):
        explanations.draw_saliency(model, options, None, "conv7")


def test_a_backbone_with_frozen_stages_can_be_drawn(backbone_params, tmp_path, drawn):
    path = tmp_path / "best.ckpt"
    fit(TrialConfig.from_params(backbone_params | {"max_epochs": 1}), [Rows(weights=path)])
    explanations.draw_saliency(open_model(path), InterpretOptions(model=path, cache_dir=tmp_path / "cache"), None)
    ((_, prediction, blocks, titles, _),) = drawn
    assert "layer features18.block.0 (1,280 maps of 1 x 1 neurons)" in titles[1]
    assert prediction.cam_layer == "features18.block"
    assert all(np.isfinite(gradient).all() for block in blocks for _, gradient in block.neurons)
    assert (tmp_path / "interpret/guided-backprop.png").exists()


@pytest.mark.parametrize(
    ("arguments", "written"),
    [
        (["predictions", "--worst", "--layout", "wide"], ["predictions-worst.png"]),
        (["filters", "--layers", "conv1", "--photo", "PHOTO"], ["1-conv1-kernels.png", "1-conv1-maps.png"]),
        (["guided-backprop", "--seed", "3", "--layer", "conv1"], ["guided-backprop.png"]),
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
