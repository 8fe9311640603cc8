import numpy as np
import pytest
import torch
from PIL import Image

from inat import load_model
from inat.data import digits
from inat.errors import ConfigError, StudyError
from inat.training.inference import open_model


@pytest.fixture
def scan() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)


def test_every_way_to_give_an_image_has_the_same_probabilities(digits_model, scan, tmp_path):
    model = load_model(digits_model)
    Image.fromarray(scan).save(tmp_path / "photo.png")
    tensor = torch.from_numpy(scan).permute(2, 0, 1)
    ways = [scan, Image.fromarray(scan), tensor, tensor / 255, scan / 255, tmp_path / "photo.png",
            str(tmp_path / "photo.png"), [scan], scan[None], tensor[None], tmp_path]  # fmt: skip
    frames = [model.predict_proba(way) for way in ways]
    assert all(frame.columns.tolist() == model.classes == list("0123456789") for frame in frames)
    assert all((frame.to_numpy() == frames[0].to_numpy()).all() for frame in frames)
    assert frames[0].sum(axis=1).item() == pytest.approx(1, abs=1e-5)


def test_the_most_likely_class_and_its_probability(digits_model, scan):
    model = load_model(digits_model)
    images = np.stack([scan, scan[:, ::-1], scan[::-1]])
    frame, probabilities = model.predict(images, batch_size=2), model.predict_proba(images)
    assert frame["class"].tolist() == probabilities.idxmax(axis=1).tolist()
    assert frame["confidence"].tolist() == pytest.approx(probabilities.max(axis=1).tolist())
    assert (frame.index.tolist(), frame.index.name, set(frame["error"])) == ([0, 1, 2], "photo", {""})


def test_the_probabilities_are_those_of_the_model(digits_model):
    images = digits.load(16)[0][:5]
    found = load_model(digits_model).predict_proba(images).to_numpy()
    assert (found == open_model(digits_model).confidences(images)).all()


def test_a_photo_that_cannot_be_read_has_a_reason_and_no_class(digits_model, scan, tmp_path):
    Image.fromarray(scan).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_text("no image")
    places, model = [tmp_path / "a.png", tmp_path / "b.png"], load_model(digits_model)
    frame = model.predict(places)
    assert frame.index.tolist() == [str(place) for place in places]
    assert frame["class"].isna().tolist() == frame["confidence"].isna().tolist() == [False, True]
    assert frame["error"].iloc[1]
    assert model.predict_proba(places).isna().all(axis=1).tolist() == [False, True]


def test_no_images_give_an_empty_frame(digits_model):
    model = load_model(digits_model)
    assert model.predict([]).shape == (0, 3)
    assert model.predict_proba([]).shape == (0, 10)


@pytest.mark.parametrize(
    ("images", "message"),
    [(3, "images is 3; pass paths"),
     ([3], "images has 3; pass paths"),
     (np.zeros((8, 8)), r"images has a ndarray of shape \(8, 8\); pass"),
     (torch.zeros(2, 8, 8), r"images has a Tensor of shape \(2, 8, 8\); pass"),
     (np.zeros((0, 8, 3)), r"images has a ndarray of shape \(0, 8, 3\); pass"),
     (np.full((8, 8, 3), 3.0), "images has values of float64 from 3 to 3; pass"),
     (np.full((8, 8, 3), np.nan), "images has values of float64 from nan to nan; pass"),
     (np.zeros((8, 8, 3), int), "images has values of int64 from 0 to 0; pass"),
     (["a.png", np.zeros((8, 8, 3))], "images has both paths and pictures")],
)  # fmt: skip
def test_other_images_are_refused_with_what_is_expected(digits_model, images, message):
    with pytest.raises(ConfigError, match=f"^{message}"):
        load_model(digits_model).predict(images)


def test_a_batch_of_no_images_is_refused(digits_model, scan):
    with pytest.raises(ConfigError, match="batch_size must be positive, got -1"):
        load_model(digits_model).predict(scan, batch_size=-1)


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(StudyError, match=r"has neither a best\.ckpt nor a model\.ckpt"):
        load_model(tmp_path)
