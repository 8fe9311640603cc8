import numpy as np
import pytest
import torch
from PIL import Image

from inat.config import TrialConfig
from inat.inference import open_model
from inat.interpret import saliency
from inat.interpret.__main__ import main
from inat.interpret.examples import Source, as_input, example
from inat.interpret.grad_cam import grad_cam
from inat.interpret.guided_backprop import guided_gradients, random_neurons
from inat.interpret.layers import Layer
from inat.training import fit
from tests.conftest import Rows
from tests.interpret.nets import hooks


@pytest.fixture
def drawn(monkeypatch):
    """What was given to ``saliency.draw``."""
    calls = []
    draw = saliency.draw
    monkeypatch.setattr(saliency, "draw", lambda *arguments: calls.append(arguments) or draw(*arguments))
    return calls


def test_ten_neurons_of_the_last_convolution_and_the_predicted_class_are_drawn(digits_model, tmp_path, drawn):
    model, source = open_model(digits_model), Source(model=digits_model, output=tmp_path, seed=3)
    saliency.draw_saliency(model, source, None)
    ((photo, said, cam, heat, neurons, title),) = drawn
    net, image = model.loaded.classifier.net, as_input(model, example(model, source, None))
    assert title == "Guided back-propagation of 10 random neurons of conv2, 8 maps of 8 x 8"
    chosen = random_neurons((8, 8, 8), 10, seed=3)
    gradients = guided_gradients(net, image, Layer("conv2", net.conv2), chosen).permute(0, 2, 3, 1)
    assert np.array_equal(np.stack([gradient for _, gradient in neurons]), gradients.numpy())
    with torch.no_grad():
        value = float(net[:5](image.unsqueeze(0))[0, *chosen[0]])  # conv1, norm1, act1, pool1, conv2
    assert neurons[0][0] == f"map {chosen[0].channel} at ({chosen[0].row}, {chosen[0].column})\nvalue {value:.3g}"
    confidences = model.confidences(photo.image[None])[0]
    best = int(confidences.argmax())
    assert said == f"said {best} {confidences[best]:.0%}"
    assert cam == f"Grad-CAM for {best}\nact2"
    assert np.array_equal(heat, grad_cam(net, image, best).numpy())
    assert hooks(net) == 0
    assert np.asarray(Image.open(tmp_path / "guided-backprop.png")).std() > 10


def test_a_backbone_with_frozen_stages_can_be_looked_into(backbone_params, tmp_path, drawn):
    path = tmp_path / "best.ckpt"
    fit(TrialConfig.from_params(backbone_params | {"max_epochs": 1}), [Rows(weights=path)])
    saliency.draw_saliency(open_model(path), Source(model=path), None)
    ((_, _, cam, _, neurons, title),) = drawn
    assert title.endswith("of features18.block.0, 1,280 maps of 1 x 1")
    assert cam.endswith("\nfeatures18.block")
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


def test_wrong_models_are_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["interpret", "filters", str(tmp_path)])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith(f"error: {tmp_path} has neither a best.ckpt nor a model.ckpt; pass a")
