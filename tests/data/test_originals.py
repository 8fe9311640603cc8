import numpy as np
import pytest

from inat.config.trial import DataConfig
from inat.data.originals import read_originals
from inat.data.splits import load_splits


@pytest.mark.parametrize("held_out", ["val", "test"])
def test_originals_are_the_files_of_the_test_images(image_tree, tmp_path, held_out):
    """Also if the test split is cut from the training folder, and the rows of the splits are mixed."""
    root = image_tree(train=12, val=3, held_out=held_out)
    config = DataConfig(data=str(root), image_size=32, cache_dir=str(tmp_path / "cache"))
    test = load_splits(config).test
    originals = list(read_originals(config, range(len(test))))
    assert len({original.name for original in originals}) == len(test) == 6
    for stored, original in zip(test.images[test.rows], originals, strict=True):
        assert (root / original.name).is_file()
        assert np.array_equal(np.asarray(original.image.resize((32, 32), 2)), stored)


def test_scans_have_names_and_no_files():
    config = DataConfig(data="digits", image_size=16)
    rows = load_splits(config).test.rows
    (original,) = read_originals(config, [7])
    assert (original.name, original.image) == (f"scan {rows[7]}", None)
