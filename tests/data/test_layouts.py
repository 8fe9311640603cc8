import os
import shutil
from pathlib import Path

import pytest

from inat.constants import TRAIN, VAL
from inat.data.image_files import ANY
from inat.data.layouts import list_folders
from inat.errors import DataError
from tests.conftest import write_image


def write_tree(root: Path, *folders: str, images: int = 2) -> Path:
    for folder in folders:
        for number in range(images):
            write_image(root / folder / f"{number}.jpg", seed=number)
    return root


def test_class_folders_alone_are_one_list_to_be_cut(tmp_path):
    listing = list_folders(write_tree(tmp_path, "bird", "fish"))
    assert listing.test is None
    assert listing.development.classes == ("bird", "fish")
    assert listing.roles == (ANY,) * 4
    assert listing.names == ("bird/0.jpg", "bird/1.jpg", "fish/0.jpg", "fish/1.jpg")
    assert listing.meaning == "the test split is cut from the class folders, then validation from the rest"


def test_a_training_folder_alone_is_cut_too(tmp_path):
    listing = list_folders(write_tree(tmp_path, "train/bird", "train/fish"))
    assert listing.test is None
    assert listing.names[0] == "train/bird/0.jpg"
    assert listing.meaning == "the test split is cut from train/, then validation from the rest"


@pytest.mark.parametrize("train", ["train", "Train", "TRAINING"])
@pytest.mark.parametrize("held_out", ["val", "valid", "Validation", "test", "Testing"])
def test_split_folders_have_several_names_in_any_case(tmp_path, train, held_out):
    listing = list_folders(
        write_tree(tmp_path, f"{train}/bird", f"{train}/fish", f"{held_out}/bird", f"{held_out}/fish")
    )
    assert listing.test is not None
    assert listing.meaning == f"{held_out}/ is the held-out test split; validation is cut from {train}/"
    assert listing.names[-1] == f"{held_out}/fish/1.jpg"


def test_three_splits_keep_their_validation_images(tmp_path):
    write_tree(tmp_path, *(f"{split}/{name}" for split in ("train", "valid", "test") for name in ("bird", "fish")))
    listing = list_folders(tmp_path)
    assert listing.roles == (TRAIN,) * 4 + (VAL,) * 4
    assert listing.names[4] == "valid/bird/0.jpg"
    assert listing.development.labels == (0, 0, 1, 1, 0, 0, 1, 1)
    assert listing.meaning == "valid/ is the validation split, test/ the held-out test split"


def test_folders_of_systems_are_no_classes(tmp_path):
    write_tree(tmp_path, "bird", "fish", "__MACOSX/bird", "@eaDir", ".ipynb_checkpoints", "#recycle/fish")
    assert list_folders(tmp_path).development.classes == ("bird", "fish")


def test_a_class_whose_name_was_decomposed_by_macos_is_the_same_class(tmp_path):
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    write_tree(tmp_path, f"train/{composed}", f"val/{decomposed}", "train/tea", "val/tea")
    listing = list_folders(tmp_path)
    assert listing.development.classes == listing.test.classes == (composed, "tea")
    assert listing.names[-4] == f"val/{decomposed}/0.jpg"


def test_two_folders_of_one_name_in_one_split_are_one_class(tmp_path):
    listing = list_folders(write_tree(tmp_path, "caf\u00e9", "cafe\u0301", "tea"))
    assert listing.development.classes == ("caf\u00e9", "tea")
    assert listing.development.labels == (0, 0, 0, 0, 1, 1)


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        (("train/a", "Train/a", "val/a"), r"has 'Train' and 'train', which both name the train split; rename or move"),
        (("train/a", "val/a", "valid/a"), r"has 'val' and 'valid', which both name the val split"),
        (("val/a", "test/a"), r"no 'train' folder in .*, only 'val' and 'test'; expected train/<class>"),
        (("train/Bird", "train/fish", "val/bird", "val/fish"),
         r"same classes; only in train: Bird \(did you mean 'bird', as in val, for 'Bird'\?\); only in val: bird"),
        (("train/sparrow", "train/x", "val/sparow", "val/x"), r"in train: sparrow \(did you mean 'sparow', as in val"),
        (("train/a", "train/b", "val/a", "val/b", "test/a"), r"only in|not in test: b"),
        (("photos/train/a", "photos/val/a"), r"no 'train' folder in .*; did you mean --data .*photos\?"),
        (("photos/a", "photos/b"), r"single folder 'photos', which has folders itself; did you mean --data .*photos"),
        ((".",), r"has no class folders; .*it has 2 photos without a class: .*--labels"),
    ],
)  # fmt: skip
def test_other_layouts_are_refused_with_the_next_step(tmp_path, folders, message):
    with pytest.raises(DataError, match=message) as caught:
        list_folders(write_tree(tmp_path / "data", *folders))
    assert "\n" not in str(caught.value)


def test_a_split_folder_itself_is_recognised(tmp_path):
    write_tree(tmp_path, "train/bird", "val/bird")
    with pytest.raises(DataError, match=rf"did you mean --data {tmp_path}, the folder that contains it\?"):
        list_folders(tmp_path / "train")


def test_the_folder_of_a_class_is_recognised(tmp_path):
    write_tree(tmp_path, "bird", "fish")
    with pytest.raises(DataError, match=rf"if it is the folder of a class, did you mean --data {tmp_path}\?"):
        list_folders(tmp_path / "bird")


def test_the_fingerprint_of_two_split_folders_is_that_of_earlier_versions(tmp_path):
    listing = list_folders(write_tree(tmp_path, "train/bird", "train/fish", "val/bird", "val/fish"))
    assert listing.fingerprint() == listing.development.fingerprint()[:32] + listing.test.fingerprint()[:32]


def test_moving_an_image_to_another_split_changes_the_fingerprint(tmp_path):
    write_tree(
        tmp_path, *(f"{split}/{name}" for split in ("train", "val", "test") for name in ("bird", "fish")), images=3
    )
    before = list_folders(tmp_path).fingerprint()
    copy = tmp_path.with_name("copy")
    shutil.copytree(tmp_path, copy)
    assert list_folders(copy).fingerprint() == before
    os.rename(copy / "train/bird/2.jpg", copy / "val/bird/3.jpg")
    assert list_folders(copy).fingerprint() != before


def test_photos_beside_the_split_folders_are_named(tmp_path):
    write_tree(tmp_path, "train/bird", "train/fish", "val/bird", "val/fish", "extra/cat", "unlabelled")
    assert list_folders(tmp_path).notes == ("no photos are used of extra, unlabelled, beside the split folders",)
    write_image(tmp_path / "loose.jpg")
    assert list_folders(tmp_path).notes[1] == f"the photos in {tmp_path} itself are not used"
    shutil.rmtree(tmp_path / "val")
    assert len(list_folders(tmp_path).notes) == 2


def test_a_folder_of_splits_alone_needs_no_note(tmp_path):
    assert list_folders(write_tree(tmp_path, "train/bird", "train/fish", "val/bird", "val/fish")).notes == ()
