import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from inat.config.trial import TrialConfig
from inat.data.datamodule import ImageDataModule
from inat.data.decode import read_image
from inat.data.image_folder import list_images
from inat.errors import ConfigError, StudyError
from inat.training.checkpoint import load_checkpoint
from inat.training.evaluation import evaluate
from inat.training.fit import fit
from inat.training.inference import NOT_FINITE, model_file, open_model, predict_images
from inat.training.precision import autocast
from tests.conftest import Rows, write_image


def evaluated(checkpoint: Path) -> np.ndarray:
    """The softmax of the test split, computed like ``evaluate``."""
    loaded = load_checkpoint(checkpoint)
    data = ImageDataModule(loaded.config.data, loaded.config.optim.batch_size)
    net = loaded.classifier.to(memory_format=torch.channels_last)
    with torch.inference_mode(), autocast(loaded.config.precision, "cpu"):
        logits = [net(data.on_after_batch_transfer(batch)[0]) for batch in data.evaluation_loader("test")]
    return torch.cat(logits).float().softmax(1).numpy()


def test_images(tmp_path: Path) -> list[str]:
    return [str(tmp_path / "photos/val" / name) for name in list_images(tmp_path / "photos/val")]


test_images.__test__ = False


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_images_are_predicted_as_in_the_evaluation_bit_by_bit(cnn_params, image_tree, tmp_path, precision):
    data = {"data": str(image_tree(val=11)), "cache_dir": str(tmp_path / "cache"), "precision": precision}
    path = tmp_path / "best.ckpt"
    fit(TrialConfig.from_params(cnn_params | data | {"max_epochs": 1, "batch_size": 8}), [Rows(weights=path)])
    paths = test_images(tmp_path)
    found = list(predict_images(open_model(path), paths))
    assert [prediction.path for prediction in found] == paths
    confidences = np.stack([prediction.confidences for prediction in found])
    assert np.array_equal(confidences, evaluated(path))
    labels = np.repeat([0, 1], 11)
    scores = evaluate(path, "test")
    assert (confidences.argmax(1) == labels).mean() == pytest.approx(scores["test_acc"])
    assert -np.log(confidences[range(22), labels]).mean() == pytest.approx(scores["test_loss"], rel=1e-4)


def test_a_fine_tuned_backbone_predicts_as_in_its_evaluation(backbone_params, tmp_path):
    path = tmp_path / "best.ckpt"
    fit(TrialConfig.from_params(backbone_params | {"max_epochs": 1, "precision": "auto"}), [Rows(weights=path)])
    found = predict_images(open_model(path), test_images(tmp_path))
    assert np.array_equal(np.stack([prediction.confidences for prediction in found]), evaluated(path))


def test_unreadable_images_are_reported_in_their_place_and_change_no_batch(image_model, tmp_path):
    expected = evaluated(image_model)
    for folder, name in (("bird", "00.jpg"), ("bird", "10a.jpg"), ("fish", "99.jpg")):
        (tmp_path / "photos/val" / folder / name).write_bytes(b"no image")
    found = list(predict_images(open_model(image_model), test_images(tmp_path)))
    assert [Path(p.path).name for p in found if p.error] == ["00.jpg", "10a.jpg", "99.jpg"]
    assert {p.error for p in found if p.error} == {"cannot identify image file"}
    assert np.array_equal(np.stack([p.confidences for p in found if not p.error]), expected)


@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_other_batches_give_the_same_up_to_rounding(image_model, tmp_path, batch_size):
    found = predict_images(open_model(image_model), test_images(tmp_path), batch_size)
    np.testing.assert_allclose(np.stack([p.confidences for p in found]), evaluated(image_model), rtol=1e-5)


def test_many_images_keep_their_order(image_model, tmp_path):
    for number in range(3):
        write_image(tmp_path / f"{number}.png", seed=number)
    paths = [str(tmp_path / f"{number % 3}.png") for number in range(200)]
    model = open_model(image_model)
    alone = [next(predict_images(model, [path])).confidences for path in paths[:3]]
    found = list(predict_images(model, paths, 7))
    assert [prediction.path for prediction in found] == paths
    for number, prediction in enumerate(found):
        np.testing.assert_allclose(prediction.confidences, alone[number % 3], rtol=1e-5)


def test_images_are_not_decoded_far_ahead(image_model, tmp_path, monkeypatch):
    write_image(tmp_path / "one.png")
    decoded = []
    monkeypatch.setattr("inat.training.inference.read_image", lambda path: decoded.append(path) or read_image(path))
    monkeypatch.setattr("inat.training.inference.usable_cores", lambda: 2)
    predictions = predict_images(open_model(image_model), [str(tmp_path / "one.png")] * 10_000)
    next(predictions)
    predictions.close()
    assert len(decoded) < 150


def test_nan_outputs_are_reported(image_model, tmp_path):
    checkpoint = torch.load(image_model, weights_only=True)
    checkpoint["state_dict"]["net.output.bias"].fill_(float("nan"))
    torch.save(checkpoint, image_model)
    found = list(predict_images(open_model(image_model), test_images(tmp_path)))
    assert {(p.confidences is None, p.error) for p in found} == {(True, NOT_FINITE)}


def test_a_batch_that_is_too_large_is_an_error(image_model, tmp_path, monkeypatch):
    model = open_model(image_model)

    def too_small(images):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(model.checkpoint.classifier, "forward", too_small)
    with pytest.raises(ConfigError, match=r"8 images of 16 px at a time are too many .* smaller --batch-size"):
        list(predict_images(model, test_images(tmp_path)))


def test_a_model_may_be_a_file_a_study_or_a_final_directory(tmp_path):
    study, final = tmp_path / "study", tmp_path / "study/final"
    final.mkdir(parents=True)
    for path in (study / "best.ckpt", final / "model.ckpt"):
        path.write_bytes(b"")
        assert model_file(path) == path
        assert model_file(path.parent) == path


def test_paths_without_a_model_are_refused(image_model, tmp_path):
    with pytest.raises(StudyError, match=r"nowhere does not exist; pass a best\.ckpt, a study directory or its final/"):
        open_model(tmp_path / "nowhere")
    with pytest.raises(StudyError, match=r"photos has neither a best\.ckpt nor a model\.ckpt; pass a study directory"):
        open_model(tmp_path / "photos")
    with pytest.raises(StudyError, match=r"0\.jpg is not a checkpoint of this program"):
        open_model(tmp_path / "photos/val/bird/0.jpg")


def test_a_final_directory_needs_neither_study_nor_images_nor_cache(image_model, tmp_path):
    expected = evaluated(image_model)
    final, own = tmp_path / "elsewhere/final", tmp_path / "own"
    final.mkdir(parents=True)
    shutil.move(image_model, final / "model.ckpt")
    shutil.move(tmp_path / "photos/val", own)
    for gone in ("study", "photos", "cache"):
        shutil.rmtree(tmp_path / gone)
    paths = [str(own / name) for name in list_images(own)]
    found = list(predict_images(open_model(final), paths))
    assert np.array_equal(np.stack([p.confidences for p in found]), expected)


def test_a_cpu_quota_bounds_the_threads(digits_model, monkeypatch):
    before = torch.get_num_threads()
    monkeypatch.setattr("inat.training.inference.usable_cores", lambda: 1)
    try:
        torch.set_num_threads(2)
        open_model(digits_model)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)
