import json
from dataclasses import replace

import pandas as pd
import pytest

from inat.config.trial import DataConfig
from inat.constants import TEST, TRAIN, VAL
from inat.data.image_files import ANY
from inat.data.label_table import find_metadata, list_table
from inat.data.listing import list_data
from inat.data.splits import inspect_data
from inat.errors import DataError
from tests.conftest import write_image

ROWS = [("0.jpg", "bird"), ("1.jpg", "bird"), ("sub/2.jpg", "fish"), ("3.jpg", "fish")]


@pytest.fixture
def photos(tmp_path):
    root = tmp_path / "photos"
    for number, (path, _) in enumerate(ROWS):
        write_image(root / path, seed=number)
    return root


def write(path, text: str):
    path.write_text(text, encoding="utf-8")
    return path


def classes_by_name(listing) -> dict[str, str]:
    return {n: listing.development.classes[label] for n, label in zip(listing.names, listing.labels, strict=True)}


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("header", ["path{0}label", "Image{0}Class", "file_name{0}category", ""])
def test_separators_and_headers_are_found(photos, tmp_path, separator, header):
    lines = [header.format(separator)] if header else []
    table = write(tmp_path / "labels.csv", "\n".join(lines + [separator.join(row) for row in ROWS]) + "\n")
    assert classes_by_name(list_table(photos, table)) == dict(ROWS)


def test_parquet_json_lines_and_numbers_as_classes(photos, tmp_path):
    frame = pd.DataFrame({"path": [path for path, _ in ROWS], "label": [3, 3, 10, 10]})
    frame.to_parquet(tmp_path / "labels.parquet")
    write(tmp_path / "labels.jsonl", "\n".join(json.dumps(row) for row in frame.to_dict("records")))
    for name in ("labels.parquet", "labels.jsonl"):
        listing = list_table(photos, tmp_path / name)
        assert listing.development.classes == ("10", "3")


def test_a_class_may_be_called_na_or_none_and_an_empty_cell_is_no_label(photos, tmp_path):
    listing = list_table(photos, write(tmp_path / "t.csv", "path,label\n0.jpg,NA\n1.jpg,\n3.jpg,None\n"))
    assert listing.development.classes == ("NA", "None")
    assert ("1.jpg", "no label in t.csv") in [tuple(file) for file in listing.development.unused]


def test_absolute_paths_and_paths_without_ending_are_found(photos, tmp_path):
    table = write(tmp_path / "t.csv", f"path,label\n{photos}/0.jpg,bird\n3,fish\n")
    listing = list_table(photos, table)
    assert [file.size > 0 for file in listing.development.files] == [True, True]
    assert listing.names[1] == "3.jpg"


def test_images_that_the_table_does_not_name_are_listed(photos, tmp_path):
    listing = list_table(photos, write(tmp_path / "t.csv", "path,label\n0.jpg,bird\n3.jpg,fish\n"))
    unused = {file.path: file.reason for file in listing.development.unused}
    assert unused == {"1.jpg": "not in the table of labels", "sub/2.jpg": "not in the table of labels"}


def test_a_missing_image_counts_as_unreadable(photos, tmp_path):
    listing = list_table(photos, write(tmp_path / "t.csv", "path,label\n0.jpg,bird\ngone.jpg,fish\n"))
    assert [file.size for file in listing.development.files][1] == -1


@pytest.mark.parametrize(
    ("splits", "roles", "meaning"),
    [
        (
            ("train", "train", "test", "TEST"),
            (TRAIN, TRAIN, TEST, TEST),
            "names the held-out test split",
        ),
        (("train", "train", "val", "valid"), (TRAIN, TRAIN, TEST, TEST), "names the held-out test split"),
        (("train", "validation", "test", "testing"), (TRAIN, VAL, TEST, TEST), "names the validation and the held-out"),
        (("", "", "", ""), (ANY,) * 4, "has no splits: the test split is cut from all images"),
    ],
)
def test_a_column_of_splits_has_the_rule_of_folders(photos, tmp_path, splits, roles, meaning):
    rows = "\n".join(f"{path},{label},{split}" for (path, label), split in zip(ROWS, splits, strict=True))
    listing = list_table(photos, write(tmp_path / "t.csv", f"path,label,split\n{rows}\n"))
    assert listing.roles == roles
    assert listing.meaning.startswith(f"t.csv {meaning}")


def test_groups_are_read(photos, tmp_path):
    table = write(tmp_path / "t.csv", "path,label,group\n0.jpg,bird,a\n1.jpg,bird,a\n3.jpg,fish,\n")
    assert list_table(photos, table).groups == ("a", "a", "")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,label\n0.jpg,bird\n0.jpg,fish\n", r"gives 0.jpg the labels 'bird' and 'fish'; an image needs one label"),
        ("path,label,split\n0.jpg,a,train\n0.jpg,a,test\n", r"gives 0.jpg the splits 'train' and 'test'"),
        ("path,label,split\n0.jpg,a,holdout\n", r"has the split 'holdout'; name the splits train, val and test"),
        ("path,label\n../secret.jpg,a\n", r"names '\.\./secret.jpg', which leads out of .*photos; write an absol"),
        ("path,label\n", r"has no row with a path and a label"),
        ("name,kind\nx,y\n", r"has no column 'path', only 'name', 'kind'; name the columns path and label"),
        ("path,kind\n0.jpg,y\n", r"has no column 'label'"),
        ("", r"cannot be read as a table"),
    ],
)  # fmt: skip
def test_a_table_that_contradicts_itself_is_refused_in_a_sentence(photos, tmp_path, text, message):
    with pytest.raises(DataError, match=message) as caught:
        list_table(photos, write(tmp_path / "t.csv", text))
    assert "\n" not in str(caught.value)


def test_a_missing_table_and_a_strange_file_are_refused(photos, tmp_path):
    with pytest.raises(DataError, match=r"no table .*none.csv; pass --labels"):
        list_table(photos, tmp_path / "none.csv")
    (tmp_path / "bad.parquet").write_bytes(b"\0" * 50)
    with pytest.raises(DataError, match=r"bad.parquet cannot be read as a table"):
        list_table(photos, tmp_path / "bad.parquet")
    with pytest.raises(DataError, match=r"which is no single value"):
        list_table(photos, write(tmp_path / "x.jsonl", '{"path": "0.jpg", "label": ["a", "b"]}'))


def test_metadata_of_an_image_folder_is_used_if_it_has_labels(photos):
    assert find_metadata(photos) is None
    write(photos / "metadata.csv", "file_name,text\n0.jpg,a bird\n")
    assert find_metadata(photos) is None
    write(photos / "metadata.csv", "file_name,label\n" + "".join(f"{path},{label}\n" for path, label in ROWS))
    assert classes_by_name(find_metadata(photos)) == dict(ROWS)


def test_metadata_in_split_folders_gives_the_splits(tmp_path):
    for split, count in (("train", 4), ("test", 2)):
        lines = []
        for number in range(count):
            write_image(tmp_path / split / f"{number}.jpg", seed=number)
            lines.append(json.dumps({"file_name": f"{number}.jpg", "label": number % 2}))
        write(tmp_path / split / "metadata.jsonl", "\n".join(lines))
    listing = find_metadata(tmp_path)
    assert listing.roles == (TRAIN,) * 4 + (TEST,) * 2
    assert listing.names[-1] == "test/1.jpg"
    assert listing.development.unused == ()


def test_paths_written_on_windows_are_found(photos, tmp_path):
    listing = list_table(photos, write(tmp_path / "t.csv", "path,label\n0.jpg,bird\nsub\\2.jpg,fish\n"))
    assert listing.names == ("0.jpg", "sub/2.jpg")


def test_many_rows_without_a_photo_are_refused_before_anything_is_decoded(photos, tmp_path):
    write(tmp_path / "t.csv", "path,label\nBirds/0.jpg,bird\n1.jpg,bird\n3.jpg,fish\n")
    config = DataConfig(data=str(photos), labels=str(tmp_path / "t.csv"), image_size=16)
    with pytest.raises(DataError, match=r"^1 row of .*t.csv name photos that are not in .*, the first is 'Birds"):
        list_data(config)
    assert list_data(replace(config, max_bad_fraction=0.5)).development.classes == ("bird", "fish")


def test_classes_that_differ_in_case_only_are_named(photos, tmp_path):
    write(tmp_path / "t.csv", "path,label\n0.jpg,Bird\n1.jpg,bird\n3.jpg,fish\n")
    listing = list_data(DataConfig(data=str(photos), labels=str(tmp_path / "t.csv"), image_size=16))
    assert listing.notes == ("the classes 'Bird' and 'bird' differ only in case or blanks; are they one?",)


def test_a_misspelt_class_is_compared_with_the_others(photos, tmp_path):
    write(tmp_path / "t.csv", "path,label\n0.jpg,sparrow\n1.jpg,sparow\n3.jpg,sparrow\n")
    config = DataConfig(data=str(photos), labels=str(tmp_path / "t.csv"), image_size=16)
    with pytest.raises(DataError, match=r"^class 'sparow' has 1 photo, .* or did you mean 'sparrow'\?"):
        inspect_data(config)


def test_a_column_that_names_only_training_images_says_so(photos, tmp_path):
    rows = "".join(f"{path},{label},train\n" for path, label in ROWS)
    listing = list_table(photos, write(tmp_path / "t.csv", f"path,label,split\n{rows}"))
    assert listing.meaning.startswith("t.csv gives only the split train: the test split is cut from all images")


@pytest.mark.parametrize("other", ["./0.jpg", "sub/../0.jpg", "0", "{root}/0.jpg", "{root}/./0.jpg"])
def test_a_photo_that_is_named_in_two_ways_is_one_photo(photos, tmp_path, other):
    second = other.format(root=photos)
    same = write(tmp_path / "same.csv", f"path,label\n0.jpg,bird\n{second},bird\n3.jpg,fish\n")
    assert list_table(photos, same).names == ("0.jpg", "3.jpg")
    two = write(tmp_path / "two.csv", f"path,label\n0.jpg,bird\n{second},fish\n3.jpg,fish\n")
    with pytest.raises(DataError, match=r"gives 0.jpg the labels 'bird' and 'fish'"):
        list_table(photos, two)


def test_each_file_is_used_or_listed_once(photos, tmp_path):
    write_image(photos / ".hidden.jpg", seed=9)
    (photos / "clip.mp4").write_bytes(b"x")
    rows = "0.jpg,bird\n1.jpg,\n3.jpg,fish\n3.jpg,\n.hidden.jpg,bird\nclip.mp4,fish\n"
    found = list_table(photos, write(tmp_path / "t.csv", f"path,label\n{rows}")).development
    listed = sorted([*found.paths, *(file.path for file in found.unused)])
    assert listed == sorted(str(path.relative_to(photos)) for path in photos.rglob("*") if path.is_file())
    assert [tuple(file) for file in found.unused] == [
        ("1.jpg", "no label in t.csv"), ("sub/2.jpg", "not in the table of labels"),
    ]  # fmt: skip


def test_a_name_that_begins_with_two_dots_is_in_the_folder(photos, tmp_path):
    write_image(photos / "..x.jpg", seed=9)
    listing = list_table(photos, write(tmp_path / "t.csv", "path,label\n..x.jpg,bird\n3.jpg,fish\n"))
    assert [file.size > 0 for file in listing.development.files] == [True, True]


def test_a_path_of_windows_cannot_leave_the_folder(photos, tmp_path):
    with pytest.raises(DataError, match=r"names '\.\./\.\./secret.jpg', which leads out of"):
        list_table(photos, write(tmp_path / "t.csv", "path,label\nsub\\..\\..\\..\\secret.jpg,a\n"))


@pytest.mark.parametrize("path", ["x" * 400, f"sub\\{'x' * 400}.jpg"])
def test_a_name_that_no_file_can_have_is_a_missing_photo(photos, tmp_path, path):
    listing = list_table(photos, write(tmp_path / "t.csv", f"path,label\n{path},bird\n3.jpg,fish\n"))
    assert [file.size > 0 for file in listing.development.files] == [False, True]


def test_a_header_that_no_file_can_have_is_refused_in_a_short_sentence(photos, tmp_path):
    with pytest.raises(DataError, match=r"has no column 'path', only 'x+', 'label'") as caught:
        list_table(photos, write(tmp_path / "t.csv", f"{'x' * 400},label\n3.jpg,fish\n"))
    assert len(str(caught.value)) < 300 + len(str(tmp_path))


def test_metadata_about_other_things_leaves_the_folders_as_they_are(photos):
    write(photos / "metadata.csv", "image_id,age\nx1,7\n")
    assert find_metadata(photos) is None
