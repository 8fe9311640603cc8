import numpy as np
import pytest
from PIL import Image

from inat.errors import DataError
from inat.interpret.examples import Source
from inat.interpret.images import LARGEST, around_grey, mosaic, new_figure, output_folder, save, show, stretched


def test_a_mosaic_has_its_cells_row_by_row_with_gaps_between():
    image = mosaic(np.stack([np.full((1, 2), float(i)) for i in range(3)]), columns=2)
    nan = np.nan
    np.testing.assert_array_equal(image, [[0, 0, nan, 1, 1], [nan] * 5, [2, 2, nan, nan, nan]])
    assert mosaic(np.zeros((3, 4, 4, 3)), columns=8).shape == (4, 14, 3)


def test_cells_are_stretched_one_by_one():
    cells = np.array([[[1.0, 3.0]], [[-5.0, -4.0]], [[7.0, 7.0]]])
    np.testing.assert_array_equal(stretched(cells), [[[0, 1]], [[0, 1]], [[0.5, 0.5]]])


def test_zero_is_grey():
    values = np.array([[[-2.0, 0.0, 2.0]]])
    np.testing.assert_allclose(around_grey(values), [[[0, 0.5, 1]]])
    np.testing.assert_array_equal(around_grey(np.zeros((2, 2, 3))), np.full((2, 2, 3), 0.5))


def test_pictures_lie_beside_the_model_unless_told_otherwise(digits_model, tmp_path):
    (tmp_path / "best.ckpt").write_bytes(b"")
    assert output_folder(Source(model=tmp_path)) == tmp_path / "interpret"
    assert output_folder(Source(model=tmp_path / "best.ckpt", output=tmp_path / "a/b")).is_dir()


def test_what_cannot_be_written_is_a_sentence(tmp_path):
    (tmp_path / "best.ckpt").write_bytes(b"")
    with pytest.raises(DataError, match=r"cannot write .*best.ckpt/x \(Not a directory\); choose another --output"):
        output_folder(Source(model=tmp_path, output=tmp_path / "best.ckpt/x"))
    with pytest.raises(DataError, match=r"cannot write .*gone/x.png"):
        save(new_figure(1, 1), tmp_path / "gone/x.png")


def test_a_large_picture_is_drawn_with_fewer_dots(tmp_path):
    noise = np.random.default_rng(0).random((700, 700, 3))
    sizes = {}
    for name, inches in (("small", 3), ("large", 6)):
        figure = new_figure(inches, inches)
        show(figure.subplots(), noise)
        save(figure, tmp_path / f"{name}.png")
        sizes[name] = Image.open(tmp_path / f"{name}.png").width
        assert (tmp_path / f"{name}.png").stat().st_size < LARGEST
    assert sizes["small"] == 330
    assert 330 < sizes["large"] < 660
