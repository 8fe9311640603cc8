import io
import json
from base64 import b64encode

import pytest
from PIL import Image

from analysis.readers.predictions import read_predictions

BEST = {"sha256": "abc"}


def jpeg(side: int = 20) -> str:
    buffer = io.BytesIO()
    Image.new("RGB", (side, side), "red").save(buffer, format="JPEG")
    return b64encode(buffer.getvalue()).decode()


def content(**changes) -> dict:
    """Predictions of 10 photos, two of which are wrong."""
    one = {"name": "val/cat/1.jpg", "true": 0, "predicted": 1, "confidence": 0.9, "picture": jpeg()}
    return {
        "format": 1, "checkpoint": "abc", "images": 10, "fold": 0, "classes": ["cat", "dog"], "errors": 2,
        "confusion": [[0, 0, 4], [0, 1, 2], [1, 1, 4]], "mistakes": [one, one | {"confidence": 0.6}],
    } | changes  # fmt: skip


def write(folder, **changes) -> None:
    (folder / "validation_predictions.json").write_text(json.dumps(content(**changes)))


def test_the_counts_and_the_pictures_are_read(tmp_path):
    write(tmp_path)
    found = read_predictions(tmp_path, BEST)
    assert (found.images, found.errors) == (10, 2)
    assert found.confusion.to_numpy().tolist() == [[4, 2], [0, 4]]
    assert [(m.true, m.predicted, m.confidence, m.picture.size) for m in found.mistakes] == [
        ("cat", "dog", 0.9, (20, 20)), ("cat", "dog", 0.6, (20, 20)),
    ]  # fmt: skip


def test_predictions_of_another_model_do_not_count(tmp_path):
    assert read_predictions(tmp_path, BEST) is None
    write(tmp_path)
    assert read_predictions(tmp_path, {"sha256": "of a better model"}) is None
    write(tmp_path, format=2)
    assert read_predictions(tmp_path, BEST) is None


@pytest.mark.parametrize(
    "changes",
    [{"confusion": [[0, 2, 1]]}, {"confusion": [[-1, 0, 1]]}, {"confusion": 3}, {"classes": None}, {"mistakes": [{}]}],
)
def test_a_damaged_file_is_an_error_with_its_name(tmp_path, changes):
    write(tmp_path, **changes)
    with pytest.raises(ValueError, match=r"validation_predictions.json is damaged .*; remove it and resume the study"):
        read_predictions(tmp_path, BEST)


def test_a_picture_that_is_no_jpeg_or_too_large_is_left_out(tmp_path):
    one = content()["mistakes"][0]
    pictures = [b64encode(b"<svg onload=alert(1)>").decode(), jpeg(1100), None, jpeg(900)]
    write(tmp_path, mistakes=[one | {"picture": picture} for picture in pictures])
    found = [mistake.picture for mistake in read_predictions(tmp_path, BEST).mistakes]
    assert found[:3] == [None] * 3
    assert found[3].size == (160, 160)


def test_a_link_out_of_the_study_is_not_followed(tmp_path):
    outside, study = tmp_path / "outside", tmp_path / "study"
    outside.mkdir()
    study.mkdir()
    write(outside)
    (study / "validation_predictions.json").symlink_to(outside / "validation_predictions.json")
    assert read_predictions(study, BEST) is None
