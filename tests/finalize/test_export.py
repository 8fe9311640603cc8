import json

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from inat.config.trial import DataConfig, TrialConfig
from inat.errors import SearchError
from inat.finalize import export as exporting
from inat.finalize.export import (
    checkpoint_probabilities,
    comparison_images,
    export,
    max_difference,
    to_exported_program,
)
from inat.models.factory import build_classifier
from inat.training.checkpoint import load_checkpoint

pytestmark = pytest.mark.usefixtures("one_thread")


def save(path, params: dict, num_classes: int) -> None:
    """An untrained classifier, as a trial saves it."""
    torch.manual_seed(0)
    config = TrialConfig.from_params(params)
    state = build_classifier(config, num_classes).state_dict()
    classes = [str(i) for i in range(num_classes)]
    torch.save({"trial_params": config.to_params(), "classes": classes, "state_dict": state}, path)


@pytest.fixture
def checkpoint(cnn_params, tmp_path):
    save(tmp_path / "model.ckpt", cnn_params | {"activation": "mish"}, 10)
    return tmp_path / "model.ckpt"


DIGITS = DataConfig(data="digits", image_size=16)


@pytest.mark.slow
def test_both_files_reproduce_the_checkpoint_for_any_number_of_images(checkpoint):
    exports = export(checkpoint, DIGITS)
    assert max(exports["largest_difference"].values()) <= 1e-4
    assert exports["compared_images"] == 64
    loaded = load_checkpoint(checkpoint)
    images = comparison_images(DIGITS)
    expected = checkpoint_probabilities(loaded, images)
    assert expected.sum(axis=1) == pytest.approx(np.ones(64), abs=1e-5)
    session = onnxruntime.InferenceSession(checkpoint.with_suffix(".onnx"), providers=["CPUExecutionProvider"])
    (entry,) = session.get_inputs()
    assert (entry.name, entry.type, entry.shape) == ("images", "tensor(uint8)", ["batch", 3, 16, 16])
    module = torch.export.load(checkpoint.with_suffix(".pt2")).module()
    for count in (1, 2, 5, 64):
        assert session.run(None, {"images": images[:count]})[0] == pytest.approx(expected[:count], abs=1e-4)
        assert module(torch.from_numpy(images[:count])).numpy() == pytest.approx(expected[:count], abs=1e-4)
    described = {entry.key: entry.value for entry in onnx.load(checkpoint.with_suffix(".onnx")).metadata_props}
    assert json.loads(described["classes"]) == [str(i) for i in range(10)]
    assert "uint8 (N, 3, 16, 16)" in described["input"]
    assert {path.name for path in checkpoint.parent.iterdir()} == {"model.ckpt", "model.onnx", "model.pt2"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("backbone", "size"),
    [("mobilenet_v2", 32), ("resnet50", 32), ("vit_b_16", 32), ("googlenet", 32), ("inception_v3", 75)],
)
def test_backbones_can_be_exported_for_any_number_of_images(backbone, size, tmp_path):
    params = {"data": "digits", "image_size": 16, "backbone": backbone, "strategy": "freeze_all", "weights": "none",
              "learning_rate": 1e-2, "batch_size": 8, "max_epochs": 3}  # fmt: skip
    save(tmp_path / "model.ckpt", params | {"data": "photos", "image_size": size}, 4)
    loaded = load_checkpoint(tmp_path / "model.ckpt")
    images = np.random.default_rng(0).integers(0, 256, (3, 3, size, size), dtype=np.uint8)
    module = to_exported_program(loaded).module()
    for count in (1, 3):
        output = module(torch.from_numpy(images[:count])).detach().numpy()
        assert output == pytest.approx(checkpoint_probabilities(loaded, images[:count]), abs=1e-4)


def test_a_file_with_other_probabilities_is_refused(tmp_path):
    images, expected = np.zeros((7, 3, 8, 8), np.uint8), np.full((7, 2), 0.5, np.float32)
    sizes = []

    def right(batch):
        sizes.append(len(batch))
        return np.full((len(batch), 2), 0.5 + 2e-5, np.float32)

    assert max_difference(right, images, expected, tmp_path / "m.onnx") == pytest.approx(2e-5, rel=0.1)
    assert sizes == [1, 3, 3]
    with pytest.raises(SearchError, match=r"m.onnx does not reproduce its checkpoint .*differs by 0.1, more than"):
        max_difference(lambda batch: right(batch) + 0.1, images, expected, tmp_path / "m.onnx")
    with pytest.raises(SearchError):
        max_difference(lambda batch: right(batch) * np.nan, images, expected, tmp_path / "m.onnx")


def test_a_wrong_file_is_not_kept(checkpoint, monkeypatch):
    class Wrong(exporting.PortableClassifier):
        def forward(self, images):
            return super().forward(images).flip(1)

    monkeypatch.setattr(exporting, "PortableClassifier", Wrong)
    with pytest.raises(SearchError, match="is not kept"):
        export(checkpoint, DIGITS)
    assert [path.name for path in checkpoint.parent.iterdir()] == ["model.ckpt"]
