"""Studies of different photos or splits are not compared without a word."""

import csv
from pathlib import Path

import pytest

from analysis.compare import comparison
from analysis.schema import GROUP
from analysis.side_by_side.same_data import DifferentDataError, check_same_data, describe_data, differences
from analysis.study import load_study
from inat.study.study import Study

SPLITS = {"train/a.jpg": "train", "train/b.jpg": "val", "val/c.jpg": "test"}


def made(directory: Path, fingerprint: str | None = "f" * 64, splits: dict[str, str] | None = None, **config):
    data = {"source": "birds", "fingerprint": fingerprint, "classes": ["a"]}
    study = Study.create(directory, {"config": config} | ({"data": data} if fingerprint else {}))
    trial = study.add_trial({"x": 1})
    study.add_epoch(trial.trial_id, {"epoch": 1, "val_acc": 0.4, "best_val_acc": 0.4, "seconds": 5.0})
    study.end_trial(trial.trial_id, "completed")
    study.close()
    if splits:
        (directory / "data").mkdir(exist_ok=True)
        with (directory / "data" / "splits.csv").open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(("path", "class", "split", GROUP))
            rows.writerows((path, "a", name, "") for path, name in splits.items())
    return load_study(directory)


def test_other_photos_are_refused_in_one_sentence_that_names_the_studies(tmp_path):
    studies = {"one": made(tmp_path / "one"), "two": made(tmp_path / "two", "e" * 64)}
    with pytest.raises(DifferentDataError) as caught:
        comparison(studies)
    assert str(caught.value) == (
        "the studies cannot be compared: one and two have different photos (birds, fingerprint ffffffff and birds, "
        "fingerprint eeeeeeee); leave one out, or pass --different-data to see them anyway"
    )
    assert len(comparison(studies, different_data=True)) == 2
    assert describe_data(studies).startswith("Different data: one and two have different photos")


def test_the_same_photos_in_other_splits_are_refused_with_an_example(tmp_path):
    other = SPLITS | {"train/b.jpg": "train", "train/a.jpg": "val"}
    studies = {"one": made(tmp_path / "one", splits=SPLITS), "two": made(tmp_path / "two", splits=other)}
    (text,) = differences(studies)
    assert text == "one and two have 2 photos in different splits (train/a.jpg is in train and val)"
    with pytest.raises(DifferentDataError, match="2 photos in different splits"):
        check_same_data(studies)


def test_a_photo_that_one_study_leaves_out_is_a_difference(tmp_path):
    fewer = {path: name for path, name in SPLITS.items() if name != "test"}
    studies = {"one": made(tmp_path / "one", splits=SPLITS), "two": made(tmp_path / "two", splits=fewer)}
    assert differences(studies) == ["one and two have 1 photo in different splits (val/c.jpg is in test and none)"]


def test_without_records_the_settings_that_decide_the_splits_count(tmp_path):
    same = {"one": made(tmp_path / "one"), "two": made(tmp_path / "two", test_fraction=0.2, folds=1)}
    assert differences(same) == []
    folds = {"one": same["one"], "three": made(tmp_path / "three", folds=5)}
    assert differences(folds) == ["one and three divide the same photos differently (folds 1 and 5)"]


def test_folds_count_even_if_the_recorded_splits_are_equal(tmp_path):
    studies = {
        "one": made(tmp_path / "one", splits=SPLITS),
        "two": made(tmp_path / "two", splits=SPLITS, folds=5, keep_duplicates=False),
    }
    assert differences(studies) == ["one and two divide the same photos differently (folds 1 and 5)"]


def test_what_is_not_recorded_is_said_and_not_refused(tmp_path):
    studies = {"one": made(tmp_path / "one", splits=SPLITS), "old": made(tmp_path / "old", fingerprint=None)}
    check_same_data(studies)
    text = describe_data(studies)
    assert text.startswith("Photos: birds, 3 photos, fingerprint ffffffff; splits: 1 train (")
    assert text.endswith("; old does not record them.")
    assert describe_data({"old": studies["old"]}) == "Photos: old does not record them."


def test_the_digest_of_a_split_depends_on_its_photos_alone(tmp_path):
    studies = {"one": made(tmp_path / "one", splits=SPLITS), "two": made(tmp_path / "two", splits=SPLITS)}
    text = describe_data(studies)
    assert "the same splits: 1 train (" in text
    assert text.count(" (") == 3
    changed = describe_data({"three": made(tmp_path / "three", splits=SPLITS | {"val/d.jpg": "test"})})
    assert changed.split("1 train (")[1][:8] == text.split("1 train (")[1][:8]
    assert changed.split(" test (")[1][:8] != text.split(" test (")[1][:8]
