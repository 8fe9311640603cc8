import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from inat.errors import ConfigError, DataError
from inat.interpret.examples import InterpretOptions
from inat.interpret.filters import draw_filters, draw_kernels, feature_maps, spread, strongest_kernels
from inat.training.inference import open_model
from tests.interpret.nets import cnn, hooks


def test_feature_maps_are_the_outputs_of_the_convolutions():
    net, images = cnn("gelu"), torch.randn(2, 3, 16, 16)
    maps = feature_maps(net, images, {"conv1": net.conv1, "conv2": net.conv2})
    with torch.no_grad():
        first = net.conv1(images[:1])
        second = net.conv2(net.pool1(net.act1(net.norm1(net.conv1(images[:1])))))
    np.testing.assert_allclose(maps["conv1"], first[0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(maps["conv2"], second[0], rtol=1e-4, atol=1e-5)
    assert hooks(net) == 0


def test_in_place_activations_do_not_overwrite_feature_maps():
    net, images = nn.Sequential(nn.Conv2d(3, 2, 1), nn.ReLU(inplace=True)), torch.randn(1, 3, 4, 4)
    maps = feature_maps(net, images, {"0": net[0]})["0"]
    assert maps.min() < 0
    np.testing.assert_array_equal(maps, net[0](images)[0].detach())


def test_the_strongest_kernel_is_that_of_the_channel_with_the_largest_norm():
    weight = torch.zeros(2, 3, 2, 2)
    weight[0, 2], weight[0, 1, 0, 0] = -1.0, 1.5
    weight[1, 0, 1, 1] = 0.1
    assert strongest_kernels(weight).tolist() == [[[-1, -1], [-1, -1]], [[0, 0], [0, weight[1, 0, 1, 1].item()]]]


@pytest.mark.parametrize(
    ("shape", "title", "pixels"),
    [
        (
            (100, 3, 3, 3),
            "Layer x: the first 64 of 100 kernels of 3 x 3, in colour\neach scaled from black to white",
            (31, 31, 3),
        ),
        ((12, 5, 1, 7), "Layer x: 12 kernels of 1 x 7\nfor each filter, its strongest of 5 input channels", (3, 63)),
        ((8, 1, 3, 3), "Layer x: 8 kernels of 3 x 3\neach filter has one input channel", (3, 31)),
        ((70, 40, 1, 1), "Layer x: the first 64 of 70 filters of 1 x 1\none weight per input channel", (64, 40)),
    ],
)
def test_each_kind_of_kernel_has_its_figure(shape, title, pixels):
    figure = draw_kernels(torch.randn(shape), "x")
    assert figure.axes[0].get_title() == title
    assert figure.axes[0].images[0].get_array().shape == pixels


def test_every_convolution_layer_has_two_figures(digits_model, tmp_path):
    options = InterpretOptions(model=digits_model, output=tmp_path)
    draw_filters(open_model(digits_model), options, None, ())
    names = {path.name for path in (tmp_path / "filters").iterdir()}
    assert names == {f"{n}-conv{n}-{kind}.png" for n in (1, 2) for kind in ("maps", "kernels")}
    for path in (tmp_path / "filters").iterdir():
        assert path.stat().st_size < 1_000_000
        assert np.asarray(Image.open(path)).std() > 10


def test_layers_can_be_chosen_by_name(digits_model, tmp_path):
    model, options = open_model(digits_model), InterpretOptions(model=digits_model, output=tmp_path)
    draw_filters(model, options, None, ("conv2",))
    assert {path.name for path in (tmp_path / "filters").iterdir()} == {"2-conv2-maps.png", "2-conv2-kernels.png"}
    with pytest.raises(ConfigError, match=r"unknown convolution layer 'conv3'; choose from conv1, conv2"):
        draw_filters(model, options, None, ("conv3",))


@pytest.mark.parametrize(
    ("limit", "expected"), [(None, "abcde"), (5, "abcde"), (4, "abde"), (3, "ace"), (2, "ae"), (1, "a")]
)
def test_some_layers_stand_for_all(limit, expected):
    assert "".join(spread("abcde", limit)) == expected


def test_a_file_in_place_of_the_filters_folder_is_reported(digits_model, tmp_path):
    (tmp_path / "filters").write_text("")
    with pytest.raises(DataError, match=r"cannot write .*filters \(File exists\); choose another --output"):
        draw_filters(open_model(digits_model), InterpretOptions(model=digits_model, output=tmp_path), None, [])


def test_a_negative_seed_is_refused(digits_model):
    with pytest.raises(ConfigError, match="--seed -1 is negative"):
        InterpretOptions(model=digits_model, seed=-1)
