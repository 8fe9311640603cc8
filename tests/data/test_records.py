import csv
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from inat.config.trial import DataConfig
from inat.data.records import copy_table, draw_copies, skipped_table, split_table, write_records
from inat.data.splits import assignment, load_splits
from inat.tuning.describe_data import describe_copies, describe_images
from tests.conftest import write_image


@pytest.fixture
def root(image_tree) -> Path:
    root = image_tree(train=12, val=4)
    shutil.copy(root / "train/bird/0.jpg", root / "val/bird/copy.jpg")  # a training copy of a test photo
    shutil.copy(root / "train/bird/1.jpg", root / "train/fish/twin.jpg")  # in two classes
    with Image.open(root / "train/fish/2.jpg") as image:
        image.save(root / "train/fish/2 again.png")  # the same pixels in another file
    (root / "train/fish/clip.mp4").write_bytes(b"x")
    (root / "train/fish/=1+1.jpg").write_bytes(b"broken")
    return root


@pytest.fixture
def config(root, tmp_path) -> DataConfig:
    return DataConfig(
        data=str(root), image_size=16, cache_dir=str(tmp_path / "cache"), keep_duplicates=False, max_bad_fraction=0.2
    )


def test_copies_are_on_one_side_of_every_split_and_the_test_split_is_untouched(config):
    splits = load_splits(config)
    assert (len(splits.test), splits.left_out) == (9, 1)
    assigned = assignment(config)
    where = {row["path"]: row["split"] for row in split_table(assigned)}
    assert where["train/bird/0.jpg"] == "left out"
    assert where["val/bird/copy.jpg"] == "test"
    assert where["train/bird/1.jpg"] == where["train/fish/twin.jpg"]
    assert where["train/fish/2.jpg"] == where["train/fish/2 again.png"]
    assert len(where) == 24 + 8 + 3


def test_copies_may_be_kept(config):
    splits = load_splits(replace(config, keep_duplicates=True))
    assert splits.left_out == 0
    assert len(splits.train) + len(splits.val) == 26


def test_each_copy_has_its_kind_and_images_in_two_classes_come_first(config):
    rows = copy_table(assignment(config))
    assert [(row["set"], row["kind"], row["path"]) for row in rows] == [
        (1, "same file", "train/bird/1.jpg"),
        (1, "same file", "train/fish/twin.jpg"),
        (2, "same file", "train/bird/0.jpg"),
        (2, "same file", "val/bird/copy.jpg"),
        (3, "same pixels", "train/fish/2 again.png"),
        (3, "same pixels", "train/fish/2.jpg"),
    ]
    assert describe_copies(rows) == (
        "6 photos are copies of each other, in 3 sets; 1 left out of training as copies of test or validation photos; "
        "1 set is in two classes: train/bird/1.jpg and train/fish/twin.jpg"
    )


def test_every_file_is_used_or_listed_with_its_reason(config):
    assigned = assignment(config)
    rows = skipped_table(assigned)
    assert [row["path"] for row in rows] == ["train/fish/=1+1.jpg", "train/fish/clip.mp4"]
    listed = {row["path"] for row in rows} | {row["path"] for row in split_table(assigned)}
    root = Path(config.data)
    assert listed == {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


def test_the_tables_and_the_picture_are_written(config, tmp_path):
    write_records(tmp_path / "data", assignment(config))
    with (tmp_path / "data" / "skipped.csv").open(newline="") as file:
        assert next(csv.DictReader(file))["path"] == "train/fish/=1+1.jpg"  # a slash in front: no formula
    with (tmp_path / "data" / "splits.csv").open(newline="") as file:
        counts = [row["split"] for row in csv.DictReader(file)]
    assert {name: counts.count(name) for name in set(counts)} == {"train": 19, "val": 6, "test": 9, "left out": 1}
    with Image.open(tmp_path / "data" / "duplicates.jpg") as picture:
        assert picture.size == draw_copies(assignment(config)).size


def test_the_picture_shows_a_copy_of_each_class(root, config):
    shutil.copy(root / "train/bird/1.jpg", root / "train/bird/10.jpg")  # before the one in the other class
    assigned = assignment(config)
    first, second, third = copy_table(assigned)[:3]
    assert [row["class"] for row in (first, second, third)] == ["bird", "bird", "fish"]
    red = replace(assigned, stores=(RedFish(assigned.stores[0]), *assigned.stores[1:]))
    picture = np.asarray(draw_copies(red))
    assert (picture[:96, 96:192] == (255, 0, 0)).all()
    assert not (picture[:96, :96] == (255, 0, 0)).all()


class RedFish:
    """A store whose photos of the second class are red."""

    def __init__(self, store):
        self.labels, self.images = store.labels, np.array(store.images)
        self.images[self.labels == 1] = (255, 0, 0)


def test_names_in_any_encoding_are_written_with_their_bytes(image_tree, tmp_path):
    root = image_tree()
    os.rename(os.fsencode(root / "train/bird/0.jpg"), os.fsencode(root / "train/bird") + b"/caf\xe9.jpg")
    config = DataConfig(data=str(root), image_size=16, cache_dir=str(tmp_path / "cache"))
    write_records(tmp_path / "data", assignment(config))
    assert b"caf\xe9.jpg" in (tmp_path / "data" / "splits.csv").read_bytes()


def test_the_lines_name_layout_groups_copies_and_skipped_files(config):
    lines = describe_images(load_splits(config), assignment(config))
    assert lines[0].startswith("images  19 train, 6 validation, 9 held-out test; 1 training photo left out")
    assert lines[1] == "splits  val/ is the held-out test split; validation is cut from train/"
    assert lines[2].startswith("copies  6 photos")
    assert "(1)" in lines[3]
    grouped = replace(config, group_by=r"train/\w+/(\d)", keep_duplicates=True)
    assert "none on two sides" in describe_images(load_splits(grouped), assignment(grouped))[2]


def test_groups_of_a_pattern_are_on_one_side(image_tree, tmp_path):
    root = image_tree(train=0, val=0)
    for animal in range(20):
        for number in range(3):
            name = ("bird", "fish")[animal % 2]
            write_image(root / name / f"animal{animal:02}_{number}.jpg", seed=100 * animal + number)
    shutil.rmtree(root / "train")
    shutil.rmtree(root / "val")
    config = DataConfig(
        data=str(root),
        image_size=16,
        cache_dir=str(tmp_path / "cache"),
        group_by=r"animal(\d+)_",
        keep_duplicates=False,
    )
    rows = {row["path"]: (row["group"], row["split"]) for row in split_table(assignment(config))}
    sides: dict[str, set[str]] = {}
    for group, split in rows.values():
        sides.setdefault(group, set()).add(split)
    assert len(sides) == 20
    (line,) = (text for text in describe_images(load_splits(config), assignment(config)) if text.startswith("groups"))
    assert "none on two sides; validation has" in line
    assert all(len(splits) == 1 for splits in sides.values())
    assert np.unique([next(iter(splits)) for splits in sides.values()]).tolist() == ["test", "train", "val"]


def test_photos_in_no_group_are_counted_beside_the_groups_as_in_the_report(config):
    shown = replace(config, group_by=r"train/bird/([0-3])\.jpg")
    assigned = assignment(shown)
    line = describe_images(load_splits(shown), assigned)[2]
    rows = [row for row in split_table(assigned) if row["split"] != "left out"]
    named = {name: {row["group"] for row in rows if row["split"] == name} - {""} for name in ("train", "val", "test")}
    alone = sum(row["group"] == "" for row in rows)
    assert alone > 20
    assert line.startswith(
        f"groups  {len(named['train'])} in train, {len(named['val'])} in validation, 0 in test, none on two sides; "
        f"{alone} photos match no group and count alone; validation"
    )


def test_a_photo_with_a_line_break_in_its_name_does_not_forge_a_line(root, config):
    for folder in ("bird", "fish"):
        shutil.copy(root / "train/bird/9.jpg", root / "train" / folder / "\nbest    t0000.jpg")
    assert not [line for line in describe_images(load_splits(config), assignment(config)) if "\n" in line]
