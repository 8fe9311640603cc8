import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from inat.errors import StudyError
from inat.training.ensemble import ensemble_file, open_ensemble
from inat.training.inference import open_model, predict_images
from tests.conftest import train_on_digits, write_image


@pytest.fixture(scope="session")
def small_model(tmp_path_factory) -> Path:
    """A checkpoint for digits of 8 px, trained for one epoch; tests must not change it."""
    return train_on_digits(
        tmp_path_factory.mktemp("small") / "best.ckpt", image_size=8, conv_layers=1, dropout=0.0, num_neurons_dense=16,
        learning_rate=1e-2, batch_size=32, max_epochs=1,
    )  # fmt: skip


@pytest.fixture
def final(tmp_path, digits_model, small_model) -> Path:
    """A final/ directory with an ensemble of a model for 16 px, with 3/4 of the weight, and one for 8 px."""
    folder = tmp_path / "study/final/ensemble"
    folder.mkdir(parents=True)
    shutil.copy(digits_model, folder / "t0001.ckpt")
    shutil.copy(small_model, folder / "t0002.ckpt")
    write_listing(folder, [("t0001.ckpt", 0.75), ("t0002.ckpt", 0.25)])
    return folder.parent


def write_listing(folder: Path, members: list, **changes) -> None:
    content = {"format": 1, "members": [{"file": name, "weight": weight} for name, weight in members]}
    (folder / "ensemble.json").write_text(json.dumps(content | changes))


def test_each_member_sees_the_photo_at_its_own_size(final, digits_model, small_model, tmp_path):
    for number in range(5):
        write_image(tmp_path / f"in/{number}.jpg", seed=number)
    (tmp_path / "in/2.jpg").write_bytes(b"no image")
    paths = sorted(map(str, (tmp_path / "in").iterdir()))
    ensemble = open_ensemble(final)
    assert ensemble.batch_size == 32
    found = list(predict_images(ensemble, paths, batch_size=2))
    parts = [list(predict_images(open_model(path), paths)) for path in (digits_model, small_model)]
    assert [prediction.path for prediction in found] == paths
    assert [bool(prediction.error) for prediction in found] == [False, False, True, False, False]
    for mean, one, other in zip(found, *parts, strict=True):
        if not mean.error:
            expected = 0.75 * one.confidences + 0.25 * other.confidences
            np.testing.assert_allclose(mean.confidences, expected, rtol=1e-4)
            assert not np.allclose(one.confidences, other.confidences)


def test_the_ensemble_is_found_in_a_study_and_in_its_final_directory(final, tmp_path):
    places = (final.parent, final, final / "ensemble")
    assert {ensemble_file(place) for place in places} == {final / "ensemble/ensemble.json"}
    with pytest.raises(StudyError, match=r"model.ckpt has no ensemble; pass a study directory or its final/ directory"):
        ensemble_file(tmp_path / "model.ckpt")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"ensemble.json is damaged \(JSONDecodeError: .*\); run inat.finalize again"),
        ("[]", r"ensemble.json is damaged \(TypeError: .*\); run inat.finalize again"),
        ('{"format": 1, "members": [{"file": "t0001.ckpt"}]}', r"is damaged \(KeyError: 'weight'\); run"),
        ('{"format": 2, "members": []}', "cannot be used: another version of this program wrote it; run inat"),
        ('{"format": 1, "members": []}', "cannot be used: its members have no names or no weights; run"),
        ('{"format": 1, "members": [{"file": "t0001.ckpt", "weight": 0}]}', "have no names or no weights"),
        ('{"format": 1, "members": [{"file": "../model.ckpt", "weight": 1}]}', "have no names or no weights"),
        ('{"format": 1, "members": [{"file": "..", "weight": 1}]}', "have no names or no weights"),
        ('{"format": 1, "members": [{"file": "model.py", "weight": 1}]}', "have no names or no weights"),
        ('{"format": 1, "members": [{"file": "t0009.ckpt", "weight": 1}]}', r"t0009.ckpt does not exist"),
    ],
)
def test_a_damaged_list_of_members_is_one_sentence(final, text, message):
    (final / "ensemble/ensemble.json").write_text(text)
    with pytest.raises(StudyError, match=message):
        open_ensemble(final)


def test_an_ensemble_of_many_members_is_refused(final):
    write_listing(final / "ensemble", [("t0001.ckpt", 0.1)] * 6)
    with pytest.raises(StudyError, match=r"ensemble.json has 6 members, more than 5; run inat.finalize again"):
        open_ensemble(final)


def test_members_of_other_classes_are_refused(final):
    checkpoint = torch.load(final / "ensemble/t0002.ckpt", weights_only=True)
    checkpoint["classes"] = checkpoint["classes"][::-1]
    torch.save(checkpoint, final / "ensemble/t0002.ckpt")
    with pytest.raises(StudyError, match=r"t0002.ckpt has other classes than t0001.ckpt beside it, so .* no mean; run"):
        open_ensemble(final)
