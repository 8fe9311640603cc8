import os
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from analysis.schema import LEFT_OUT, REASON, SPLIT
from inat.config.trial import DataConfig
from inat.data.inspect.collect import collect, mean_brightness
from inat.data.splits import assignment
from inat.errors import DataError


def test_splits_are_those_of_the_search(found, config):
    rows = assignment(config).rows
    for name, part in (("train", rows.train), ("val", rows.val), ("test", rows.test), (LEFT_OUT, rows.left_out)):
        assert np.flatnonzero(found.split == name).tolist() == part.tolist()
    assert len(rows.left_out) == 1
    assert found.problem == ""


def test_sizes_formats_and_modes_come_from_the_files(found):
    white = [name.endswith("white.png") for name in found.names].index(True)
    assert found.sizes[white].tolist() == [40, 60]
    assert (found.formats["PNG"], found.formats["JPEG"]) == (1, len(found.names) - 1)
    assert found.modes["L"] == 1


def test_a_photo_on_its_side_is_measured_upright(config, photos):
    image = Image.new("RGB", (60, 40))
    exif = image.getexif()
    exif[274] = 6  # to be turned by 90 degrees
    image.save(photos / "train" / "bird" / "turned.jpg", exif=exif)
    found = collect(config)
    row = [name.endswith("turned.jpg") for name in found.names].index(True)
    assert found.sizes[row].tolist() == [40, 60]


def test_brightness_is_that_of_the_pixels(found):
    white = [name.endswith("white.png") for name in found.names].index(True)
    assert found.brightness[white] == pytest.approx(250 / 255, abs=0.005)
    assert mean_brightness(np.zeros((2, 32, 32, 3), np.uint8)).tolist() == [0, 0]


def test_files_that_are_not_used_have_their_reason(found):
    assert found.skipped[REASON].tolist() == ["a video, not an image"]


def test_one_class_is_a_problem_but_is_inspected(config, photos):
    for split in ("train", "val"):
        for file in (photos / split / "fish").iterdir():
            file.unlink()
        (photos / split / "fish").rmdir()
    found = collect(config)
    assert "has the single class 'bird'" in found.problem
    assert set(found.splits[SPLIT]) == {"not split", "test"}
    assert found.sizes.min() > 0


def test_too_many_unreadable_photos_are_a_problem_with_a_list(config, photos):
    for i in range(20):
        (photos / "train" / "bird" / f"bad{i}.jpg").write_text("no image")
    found = collect(config)
    assert "cannot be read, more than the allowed" in found.problem
    assert len(found.skipped) == 21
    assert found.usable.sum() == len(found.names) - 20


def test_what_cannot_be_listed_is_an_error(config):
    with pytest.raises(DataError, match="does not exist"):
        collect(replace(config, data=f"{config.data}/nowhere"))


def test_a_name_that_is_not_unicode_stands_in_the_tables_as_escapes(config, photos):
    source = photos / "train" / "bird" / "0.jpg"
    with open(os.fsencode(photos) + b"/train/bird/\xff.jpg", "wb") as file:
        file.write(source.read_bytes())
    assert collect(config).copies["path"].str.contains(r"\\udcff").any()


def test_digits_need_no_files(tmp_path):
    found = collect(DataConfig(data="digits", image_size=32, cache_dir=str(tmp_path)))
    assert (len(found.names), len(found.classes)) == (1797, 10)
    assert found.image(0).shape == (32, 32, 3)
    assert (found.split != "").all()


def test_photos_of_a_library_have_sizes_but_no_formats(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("Lake", "Sea"):
        (tmp_path / "eurosat" / "2750" / name).mkdir(parents=True)
        for number in range(20):
            image = Image.fromarray(rng.integers(0, 256, (20, 30, 3), np.uint8))
            image.save(tmp_path / "eurosat" / "2750" / name / f"{number}.jpg")
    cache = str(tmp_path / "cache")
    found = collect(DataConfig(data="torchvision:EuroSAT", root=str(tmp_path), image_size=16, cache_dir=cache))
    assert found.sizes.tolist() == [[30, 20]] * 40
    assert not found.formats


def test_a_table_may_name_photos_elsewhere(photos, tmp_path):
    paths = sorted((photos / "train").rglob("*.jpg"))[:40]
    rows = "".join(f"{path},{'ab'[number % 2]},{number // 2}\n" for number, path in enumerate(paths))
    (tmp_path / "labels.csv").write_text(f"path,label,group\n{rows}")
    (tmp_path / "empty").mkdir()
    found = collect(
        DataConfig(data=str(tmp_path / "empty"), labels=str(tmp_path / "labels.csv"), image_size=16,
                   cache_dir=str(tmp_path / "cache"))
    )  # fmt: skip
    assert (found.classes, found.formats["JPEG"]) == (("a", "b"), 40)
    assert found.splits["group"].nunique() == 20
