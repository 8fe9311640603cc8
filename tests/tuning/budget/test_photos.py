from dataclasses import replace

import pytest

from inat.config.search import SearchConfig
from inat.config.trial import SHIFT
from inat.data.splits import load_splits
from inat.tuning.budget.photos import Missing, look_at_photos
from tests.conftest import write_image


def test_the_digits_are_known():
    data = SearchConfig(data="digits").data_config()
    photos, splits = look_at_photos(data), load_splits(data)
    counts = photos.counts
    real = (len(splits.train), len(splits.val), len(splits.test))
    assert (counts.train, counts.val, counts.test) == pytest.approx(real, abs=1)
    assert photos.side == 8
    assert photos.missing(data) == Missing(0, 0)


def test_photos_are_counted_and_measured_before_they_are_decoded(image_tree, tmp_path):
    data = SearchConfig(data=str(image_tree(train=20, val=4)), image_size=8, cache_dir=tmp_path / "cache").data_config(
        use_augmentation=False
    )
    photos = look_at_photos(data)
    assert not (tmp_path / "cache").exists()
    assert (photos.counts.train, photos.counts.val, photos.counts.test) == (32, 8, 8)
    assert photos.side == 24  # of 30 x 24 px
    missing = photos.missing(data)
    assert missing == Missing(48, 48 * 3 * 8**2)
    assert photos.decode_seconds(missing, cores=1) > photos.decode_seconds(missing, cores=2) > 0
    augmented = replace(data, use_augmentation=True)
    assert photos.missing(augmented) == Missing(48, 48 * 3 * 8**2 + 40 * 3 * 16**2)
    assert photos.missing(replace(augmented, augmentation_policy=SHIFT)) == missing
    splits = load_splits(data)
    assert (len(splits.train), len(splits.val), len(splits.test)) == (32, 8, 8)
    assert photos.missing(data) == Missing(0, 0)
    assert photos.missing(augmented) == Missing(40, 40 * 3 * 16**2)  # the larger copies of the training photos
    load_splits(augmented)
    assert photos.missing(augmented) == Missing(0, 0)


def test_a_test_split_that_has_to_be_cut_is_counted(tmp_path):
    for name in ("bird", "fish"):
        for number in range(20):
            write_image(tmp_path / "flat" / name / f"{number}.png", seed=number, size=(40, 60))
    photos = look_at_photos(SearchConfig(data=str(tmp_path / "flat"), image_size=8).data_config())
    assert (photos.counts.train, photos.counts.val, photos.counts.test) == (26, 6, 8)
    assert photos.side == 40


def test_broken_photos_do_not_end_the_look(image_tree, tmp_path):
    root = image_tree(train=10)
    for path in (root / "train" / "bird").iterdir():
        path.write_bytes(b"no image")
    photos = look_at_photos(SearchConfig(data=str(root), image_size=8).data_config())
    assert photos.side == 24
