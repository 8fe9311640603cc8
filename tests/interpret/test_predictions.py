import numpy as np
import pytest
from PIL import Image

from inat.interpret import predictions
from inat.interpret.examples import Source, images_of, labels_of, test_split
from inat.interpret.predictions import Shown, draw_predictions, grid, shown, three_a_class, worst_mistakes
from inat.training.inference import open_model

test_split.__test__ = False


@pytest.fixture
def model(digits_model):
    return open_model(digits_model)


@pytest.fixture
def split(model, digits_model):
    return test_split(model, Source(model=digits_model))


def test_three_photographs_of_each_class_are_drawn_from_the_seed(split):
    rows = three_a_class(split, 10, seed=4)
    labels = labels_of(split)
    assert [labels[row].tolist() for row in rows] == [[label] * 3 for label in range(10)]
    assert all(len(set(row.tolist())) == 3 for row in rows)
    assert np.array_equal(rows, three_a_class(split, 10, seed=4))
    assert not np.array_equal(rows, three_a_class(split, 10, seed=5))


def test_what_is_shown_is_what_the_model_says(model, split):
    chosen = [5, 359, 77]
    confidences = model.confidences(images_of(split, chosen))
    for place, photo, row in zip(chosen, shown(model, split, chosen), confidences, strict=True):
        assert np.array_equal(photo.image, split.images[split.rows[place]])
        assert photo.true == str(split.labels[split.rows[place]])
        assert (photo.predicted, photo.confidence) == (str(row.argmax()), row.max())


def test_the_worst_are_the_most_confident_of_all_mistakes(model, split):
    everything = shown(model, split, range(len(split)))
    mistakes = sorted((p.confidence for p in everything if p.true != p.predicted), reverse=True)
    worst, count = worst_mistakes(model, split, 5)
    assert count == len(mistakes) > 5
    assert [photo.confidence for photo in worst] == mistakes[:5]
    assert all(photo.wrong for photo in worst)


def test_wrong_ones_and_no_others_are_framed_red():
    image = np.zeros((4, 4, 3), np.uint8)
    right, wrong = Shown(image, "ant", "ant", 0.75), Shown(image, "ant", "a" * 40, 0.5)
    figure = grid([[right, wrong], [wrong]], "title")
    first, second, empty, third, *_ = figure.axes
    assert first.get_title() == "is ant\nsaid ant 75%"
    assert second.get_title() == f"is ant\nsaid {'a' * 19}… 50%"
    edges = [axes.spines["left"].get_edgecolor() for axes in (first, second, third)]
    assert edges[1] == edges[2] != edges[0]
    assert edges[1][0] > 0.8 > 0.3 > max(edges[1][1:3])
    widths = [axes.spines["left"].get_linewidth() for axes in (first, second, third)]
    assert widths[1] == widths[2] > 2 * widths[0]
    assert not empty.axison
    assert len(figure.axes) == 6


@pytest.mark.parametrize("worst", [False, True])
def test_the_picture_has_a_row_for_each_class(model, digits_model, tmp_path, worst, capsys):
    draw_predictions(model, Source(model=digits_model, output=tmp_path / "new/folder"), worst=worst)
    (picture,) = (tmp_path / "new/folder").iterdir()
    assert picture.name == ("predictions-worst.png" if worst else "predictions.png")
    assert capsys.readouterr().out == f"{picture}\n"
    assert picture.stat().st_size < 1_000_000
    assert np.asarray(Image.open(picture)).std() > 10


def test_without_a_mistake_there_is_no_picture(model, digits_model, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(predictions, "worst_mistakes", lambda *_: ([], 0))
    draw_predictions(model, Source(model=digits_model, output=tmp_path), worst=True)
    assert capsys.readouterr().out == "no picture: all of the 360 test photos are predicted correctly\n"
    assert not list(tmp_path.iterdir())
