import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from inat.data.splits import load_splits
from inat.interpret import predictions
from inat.interpret.examples import InterpretOptions, images_of, labels_of, test_config, test_split
from inat.interpret.predictions import (
    PredictedImage,
    columns_per_class,
    draw_predictions,
    grid,
    predict_positions,
    sample_per_class,
    with_originals,
    worst_errors,
)
from inat.training.inference import open_model

test_split.__test__ = test_config.__test__ = False


@pytest.fixture
def model(digits_model):
    return open_model(digits_model)


@pytest.fixture
def split(model, digits_model):
    return test_split(model, InterpretOptions(model=digits_model))


def test_three_images_per_class_are_chosen_by_the_seed(split):
    rows = sample_per_class(split, 10, seed=4)
    labels = labels_of(split)
    assert [labels[row].tolist() for row in rows] == [[label] * 3 for label in range(10)]
    assert all(len(set(row.tolist())) == 3 for row in rows)
    assert np.array_equal(rows, sample_per_class(split, 10, seed=4))
    assert not np.array_equal(rows, sample_per_class(split, 10, seed=5))


def test_predicted_images_agree_with_the_model(model, split):
    positions = [5, 359, 77]
    confidences = model.confidences(images_of(split, positions))
    for position, image, row in zip(positions, predict_positions(model, split, positions), confidences, strict=True):
        assert np.array_equal(image.image, split.images[split.rows[position]])
        assert image.true == str(split.labels[split.rows[position]])
        assert (image.predicted, image.confidence) == (str(row.argmax()), row.max())


def test_the_worst_errors_are_the_most_confident_of_all(model, split):
    everything = predict_positions(model, split, range(len(split)))
    errors = sorted((p.confidence for p in everything if p.true != p.predicted), reverse=True)
    worst, count = worst_errors(model, split, 5)
    assert count == len(errors) > 5
    assert [image.confidence for image in worst] == errors[:5]
    assert all(image.wrong for image in worst)


def test_only_errors_are_framed_red():
    image = np.zeros((4, 4, 3), np.uint8)
    right, wrong = PredictedImage(image, "ant", "ant", 0.75), PredictedImage(image, "ant", "a" * 40, 0.5)
    figure = grid([[right, wrong], [wrong]], "title")
    first, second, empty, third, *_ = figure.axes
    assert first.get_title() == "true: ant\npredicted: ant 75%"
    assert second.get_title() == f"true: ant\npredicted: {'a' * 19}… 50%"
    edges = [axes.spines["left"].get_edgecolor() for axes in (first, second, third)]
    assert edges[1] == edges[2] != edges[0]
    assert edges[1][0] > 0.8 > 0.3 > max(edges[1][1:3])
    widths = [axes.spines["left"].get_linewidth() for axes in (first, second, third)]
    assert widths[1] == widths[2] > 2 * widths[0]
    assert not empty.axison
    assert len(figure.axes) == 6


@pytest.mark.parametrize("worst", [False, True])
def test_the_figure_has_one_row_per_class(model, digits_model, tmp_path, worst, capsys):
    draw_predictions(model, InterpretOptions(model=digits_model, output=tmp_path / "new/folder"), worst=worst)
    (path,) = (tmp_path / "new/folder").iterdir()
    assert path.name == ("predictions-worst.png" if worst else "predictions.png")
    assert capsys.readouterr().out == f"{path}\n"
    assert path.stat().st_size < 1_000_000
    assert np.asarray(Image.open(path)).std() > 10


def test_without_an_error_there_is_no_figure(model, digits_model, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(predictions, "worst_errors", lambda *_: ([], 0))
    draw_predictions(model, InterpretOptions(model=digits_model, output=tmp_path), worst=True)
    assert capsys.readouterr().out == "no figure: all 360 test photos are predicted correctly\n"
    assert not list(tmp_path.iterdir())


def test_the_grid_shows_the_photos_as_their_files_are(image_model, tmp_path):
    model, options = open_model(image_model), InterpretOptions(model=image_model, cache_dir=tmp_path / "cache")
    folder = tmp_path / "photos" / "val" / "fish"
    Image.new("RGB", (600, 300), "blue").save(folder / "0.jpg")
    config = test_config(model, options)
    config = replace(config, fingerprint="")
    images = predict_positions(model, load_splits(config).test, range(22))
    shown = {image.name: image for image in with_originals(config, images)}
    blue = shown["val/fish/0.jpg"]
    assert (blue.true, blue.image.shape) == ("fish", (130, 260, 3))
    assert blue.image.reshape(-1, 3).mean(0).round().tolist() == [0, 0, 254]


def test_a_file_that_has_gone_since_is_shown_as_it_was_stored(image_model, tmp_path):
    model, options = open_model(image_model), InterpretOptions(model=image_model, cache_dir=tmp_path / "cache")
    images = predict_positions(model, test_split(model, options), [0])
    (tmp_path / "photos" / "val" / "bird" / "0.jpg").unlink()
    (shown,) = with_originals(test_config(model, options), images)
    assert shown.name == "val/bird/0.jpg"
    assert np.array_equal(shown.image, images[0].image)


def test_the_title_is_the_file_and_both_classes():
    image = PredictedImage(np.zeros((4, 4, 3), np.uint8), "ant", "bee", 0.5, name=f"val/ant/{'x' * 40}$_$.jpg\x1b")
    (axes, *_) = grid([[image]], "title").axes
    assert axes.get_title() == "…" + f"{'x' * 40}$_$.jpg\\x1b"[-29:] + "\ntrue: ant\npredicted: bee 50%"
    grid([[image]], "title").savefig(io.BytesIO())  # no formula between the dollars


def test_the_wide_layout_has_a_column_per_class_and_ten_of_them_in_a_block():
    def row(label, count):
        return [PredictedImage(np.zeros((4, 4, 3), np.uint8), str(label), "0", 0.5, place) for place in range(count)]

    lines = columns_per_class([row(label, 1 if label == 1 else 3) for label in range(12)])
    assert [len(line) for line in lines] == [10, 10, 10, 2, 2, 2]
    assert [image.true for image in lines[0]] == [str(label) for label in range(10)]
    assert [image and (image.true, image.position) for image in lines[1][:3]] == [("0", 1), None, ("2", 1)]
    assert [image.true for image in lines[5]] == ["10", "11"]
    figure = grid(lines, "title")
    assert sum(axes.axison for axes in figure.axes) == 34
