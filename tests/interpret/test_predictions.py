import numpy as np
import pytest
from PIL import Image

from inat.interpret import predictions
from inat.interpret.examples import InterpretOptions, images_of, labels_of, test_split
from inat.interpret.predictions import (
    PredictedImage,
    draw_predictions,
    grid,
    predict_positions,
    sample_per_class,
    worst_errors,
)
from inat.training.inference import open_model

test_split.__test__ = False


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
    assert first.get_title() == "true: ant\npred: ant 75%"
    assert second.get_title() == f"true: ant\npred: {'a' * 19}… 50%"
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
