import re

import pytest
import torch
from PIL import Image
from torch import nn

from inat.interpret import predictions
from inat.interpret.__main__ import main
from inat.interpret.everything import draw_all
from inat.interpret.examples import InterpretOptions
from inat.training.inference import open_model


def test_all_pictures_are_on_one_page(image_model, tmp_path, monkeypatch, capsys):
    out = tmp_path / "out"
    monkeypatch.setattr(
        "sys.argv", ["interpret", "all", str(image_model), "--output", str(out), "--cache-dir", str(tmp_path / "cache")]
    )
    main()
    written = {path.relative_to(out).as_posix() for path in out.rglob("*.png")}
    assert written >= {"predictions.png", "guided-backprop.png", "filters/1-conv1-maps.png"}
    page = (out / "index.html").read_text(encoding="utf-8")
    assert set(re.findall(r'<a href="([^"#]+)"', page)) == written
    assert capsys.readouterr().out.splitlines()[-1] == str(out / "index.html")
    assert (out / "index.html").stat().st_size < 3_000_000
    alts = re.findall(r'<img [^>]* alt="([^"]+)"', page)
    assert len(alts) == len(written)
    assert "2 classes (bird, fish). The network sees photos at 16 x 16 px." in page


def test_a_named_layer_is_the_only_one_that_is_drawn(digits_model, tmp_path):
    options = InterpretOptions(model=digits_model, output=tmp_path)
    draw_all(open_model(digits_model), options, None, "conv1", "wide")
    assert {path.name for path in (tmp_path / "filters").iterdir()} == {"1-conv1-maps.png", "1-conv1-kernels.png"}
    assert "layer conv1 (8 maps of 16 x 16 neurons)" in (tmp_path / "index.html").read_text(encoding="utf-8")
    width, height = Image.open(tmp_path / "predictions.png").size
    assert width > 2 * height  # ten classes beside each other


def test_an_unknown_layer_ends_the_command_before_it_draws(digits_model, tmp_path, monkeypatch, capsys):
    out = tmp_path / "out"
    monkeypatch.setattr("sys.argv", ["interpret", "all", str(digits_model), "--output", str(out), "--layer", "conv9"])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 2
    assert capsys.readouterr().err == "error: unknown convolution layer 'conv9'; choose from conv1, conv2\n"
    assert not out.exists()


def test_a_network_without_convolutions_and_without_errors_has_a_page(digits_model, tmp_path, monkeypatch):
    model, options = open_model(digits_model), InterpretOptions(model=digits_model, output=tmp_path)
    torch.manual_seed(0)
    model.checkpoint.classifier.net = nn.Sequential(nn.Flatten(), nn.Linear(16 * 16 * 3, 10)).eval()
    monkeypatch.setattr(predictions, "worst_errors", lambda *_: ([], 0))
    draw_all(model, options, None, None, "published")
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert "The model predicts all test photos correctly." in page
    assert "This network has no convolution layer, so no layer is drawn." in page
    assert [path.name for path in tmp_path.glob("**/*.png")] == ["predictions.png"]
