import os

import numpy as np
import pytest
from PIL import Image

from analysis.readers import data_records
from analysis.readers.data_records import read_data_records


@pytest.fixture
def study(tmp_path):
    """A study directory with records of three images."""
    data = tmp_path / "study" / "data"
    data.mkdir(parents=True)
    (data / "splits.csv").write_text("path,class,split,group\na.jpg,NA,train,\n'=1+1.jpg,b,test,g\n")
    (data / "skipped.csv").write_text("path,reason\nx.mp4,a video\n")
    (data / "duplicates.csv").write_text("set,kind,path,class,split\n1,near copy,a.jpg,NA,train\n")
    Image.new("RGB", (60, 40), "red").save(data / "duplicates.jpg")
    return tmp_path / "study"


def test_all_tables_are_read_as_text(study):
    records = read_data_records(study)
    assert records is not None
    assert records.splits["class"].tolist() == ["NA", "b"]
    assert records.splits["path"].tolist() == ["a.jpg", "=1+1.jpg"]
    assert (len(records.skipped), len(records.copies), records.errors) == (1, 1, ())
    assert records.picture is not None
    assert records.picture.size == (60, 40)


def test_a_study_of_an_earlier_version_has_none(tmp_path):
    assert read_data_records(tmp_path) is None
    (tmp_path / "data").mkdir()
    assert read_data_records(tmp_path) is None


def test_missing_files_are_empty_tables(study):
    for name in ("skipped.csv", "duplicates.csv", "duplicates.jpg"):
        (study / "data" / name).unlink()
    records = read_data_records(study)
    assert records is not None
    assert (len(records.skipped), len(records.copies), records.picture, records.errors) == (0, 0, None, ())


@pytest.mark.parametrize("content", [b"", b"\0\xff\xfe", b"path\na.jpg\n", b'path,class,split,group\n"open', b"\n" * 9])
def test_a_damaged_table_is_an_error_of_the_study_not_a_crash(study, content):
    (study / "data" / "splits.csv").write_bytes(content)
    records = read_data_records(study)
    assert records is not None
    assert len(records.splits) <= 1
    assert list(records.splits.columns) == ["path", "class", "split", "group"]


def test_names_that_are_not_unicode_are_read(study):
    (study / "data" / "splits.csv").write_bytes(b"path,class,split,group\n\xff.jpg,a,train,\n")
    records = read_data_records(study)
    assert records is not None
    assert records.splits["path"].tolist() == ["\\xff.jpg"]


def test_a_link_out_of_the_study_a_pipe_and_another_format_are_refused(study, tmp_path):
    data = study / "data"
    Image.new("RGB", (9, 9)).save(tmp_path / "private.jpg")
    (tmp_path / "private.csv").write_text("path,reason\nsecret,of another folder\n")
    for name in ("duplicates.jpg", "skipped.csv", "duplicates.csv"):
        (data / name).unlink()
    (data / "duplicates.jpg").symlink_to(tmp_path / "private.jpg")
    (data / "skipped.csv").symlink_to(tmp_path / "private.csv")
    os.mkfifo(data / "duplicates.csv")
    records = read_data_records(study)
    assert records is not None
    assert (len(records.skipped), len(records.copies), records.picture) == (0, 0, None)
    assert len(records.errors) == 3
    assert str(tmp_path) not in "".join(records.errors)


@pytest.mark.parametrize("kind", ["png", "large", "cut", "many pixels"])
def test_a_picture_that_is_no_small_jpeg_is_left_out(study, kind, monkeypatch):
    place = study / "data" / "duplicates.jpg"
    if kind == "png":
        Image.new("RGB", (9, 9)).save(place, format="PNG")
    elif kind == "large":
        monkeypatch.setattr(data_records, "MAX_PICTURE_BYTES", 100)
    elif kind == "cut":
        noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)
        Image.fromarray(noise).save(place)
        place.write_bytes(place.read_bytes()[:5000])
    else:
        monkeypatch.setattr(data_records, "MAX_PICTURE_PIXELS", 100)
    records = read_data_records(study)
    assert records is not None
    assert records.picture is None
    assert len(records.errors) == 1
    assert "data/duplicates.jpg cannot be read" in records.errors[0]
