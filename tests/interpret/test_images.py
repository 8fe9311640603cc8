import numpy as np
import pytest
from PIL import Image

from inat.errors import DataError
from inat.interpret.examples import InterpretOptions
from inat.interpret.images import (
    MAX_BYTES,
    center_on_grey,
    mosaic,
    new_figure,
    output_folder,
    save,
    shorten_start,
    show,
    stretch_cells,
)


def test_a_mosaic_arranges_cells_row_by_row_with_gaps():
    image = mosaic(np.stack([np.full((1, 2), float(i)) for i in range(3)]), columns=2)
    nan = np.nan
    np.testing.assert_array_equal(image, [[0, 0, nan, 1, 1], [nan] * 5, [2, 2, nan, nan, nan]])
    assert mosaic(np.zeros((3, 4, 4, 3)), columns=8).shape == (4, 14, 3)


def test_each_cell_is_stretched_to_its_own_range():
    cells = np.array([[[1.0, 3.0]], [[-5.0, -4.0]], [[7.0, 7.0]]])
    np.testing.assert_array_equal(stretch_cells(cells), [[[0, 1]], [[0, 1]], [[0.5, 0.5]]])


def test_zero_is_grey():
    values = np.array([[[-2.0, 0.0, 2.0]]])
    np.testing.assert_allclose(center_on_grey(values), [[[0, 0.5, 1]]])
    np.testing.assert_array_equal(center_on_grey(np.zeros((2, 2, 3))), np.full((2, 2, 3), 0.5))


def test_figures_go_beside_the_model_unless_output_is_given(digits_model, tmp_path):
    (tmp_path / "best.ckpt").write_bytes(b"")
    assert output_folder(InterpretOptions(model=tmp_path)) == tmp_path / "interpret"
    assert output_folder(InterpretOptions(model=tmp_path / "best.ckpt", output=tmp_path / "a/b")).is_dir()


def test_a_path_that_cannot_be_written_is_reported(tmp_path):
    (tmp_path / "best.ckpt").write_bytes(b"")
    with pytest.raises(DataError, match=r"cannot write .*best.ckpt/x \(Not a directory\); choose another --output"):
        output_folder(InterpretOptions(model=tmp_path, output=tmp_path / "best.ckpt/x"))
    with pytest.raises(DataError, match=r"cannot write .*gone/x.png"):
        save(new_figure(1, 1), tmp_path / "gone/x.png")


def test_a_large_figure_is_drawn_at_a_lower_resolution(tmp_path):
    noise = np.random.default_rng(0).random((700, 700, 3))
    sizes = {}
    for name, inches in (("small", 3), ("large", 6)):
        figure = new_figure(inches, inches)
        show(figure.subplots(), noise)
        save(figure, tmp_path / f"{name}.png")
        sizes[name] = Image.open(tmp_path / f"{name}.png").width
        assert (tmp_path / f"{name}.png").stat().st_size < MAX_BYTES
    assert sizes["small"] == 330
    assert 330 < sizes["large"] < 660


def test_a_link_of_a_strangers_study_is_not_followed(tmp_path):
    study, outside = tmp_path / "study", tmp_path / "outside"
    for folder in (study, outside):
        folder.mkdir()
    (study / "best.ckpt").write_bytes(b"")
    (study / "interpret").symlink_to(outside)
    with pytest.raises(DataError, match=r"interpret is a link that leads out of .*study; remove it, or pass --output"):
        output_folder(InterpretOptions(model=study))
    assert output_folder(InterpretOptions(model=study, output=study / "interpret")).is_dir()  # the user's own choice


def test_the_start_of_a_long_path_is_cut():
    assert shorten_start("train/bird/1.jpg", 16) == "train/bird/1.jpg"
    assert shorten_start("train/bird/1.jpg", 6) == "…1.jpg"
