"""Checkpoints of strangers: they run no code, and allocate no more than their file has."""

import os
import pickle
import zipfile
from pathlib import Path

import pytest
import torch

from inat.errors import StudyError
from inat.predict import PredictCommand, predict
from inat.training.checkpoint import is_intact, load_checkpoint


class Payload:
    """An object that writes a file when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return (Path.write_text, (self.target, "unpickled"))


@pytest.fixture
def content(digits_model) -> dict:
    return torch.load(digits_model, weights_only=True)


@pytest.mark.parametrize("save", [torch.save, lambda value, path: path.write_bytes(pickle.dumps(value))])
def test_a_pickled_object_is_never_made(tmp_path, save, content):
    save(content | {"row": Payload(tmp_path / "ran")}, tmp_path / "best.ckpt")
    with pytest.raises(StudyError, match="best.ckpt is not a checkpoint of this program"):
        predict(PredictCommand(model=tmp_path, photos=(Path(__file__),)))
    assert not (tmp_path / "ran").exists()


def test_a_compressed_checkpoint_is_refused(tmp_path, digits_model):
    packed = tmp_path / "best.ckpt"
    with zipfile.ZipFile(digits_model) as source, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as target:
        for member in source.infolist():
            target.writestr(member.filename, source.read(member))
    with pytest.raises(StudyError, match="it is compressed"):
        load_checkpoint(packed)
    assert not is_intact(packed)  # neither is a trial resumed from it


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"first_layer_filters": 200_000}, "larger than its weights"),
        ({"num_neurons_dense": 10**9}, "larger than its weights"),
        ({"batch_size": 10**12}, "batches of 1,000,000,000,000 images of 16 px do not fit into memory"),
        ({"image_size": 4096, "batch_size": 500, "pooling": "average"}, "images of 4,096 px do not fit into memory"),
        ({"image_size": 100_000}, "image_size must be at most 4096"),
        ({"filter_org": 1e300}, "not a checkpoint"),
        ({"conv_layers": 10**6}, "not a checkpoint"),
        ({"first_layer_filters": "x"}, "not a checkpoint"),
    ],
    ids=str,
)
def test_a_network_larger_than_the_file_is_refused_before_it_is_built(tmp_path, content, params, message):
    torch.save(content | {"trial_params": content["trial_params"] | params}, tmp_path / "a.ckpt")
    with pytest.raises(StudyError, match=message):
        load_checkpoint(tmp_path / "a.ckpt")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classes": ["a"] * 100_000}, "no layer has the 100,000 outputs"),
        ({"classes": 5}, "not a checkpoint"),
        ({"classes": [1] * 10}, "no texts"),
        ({"trial_params": [1]}, "not a checkpoint"),
        ({"state_dict": [3]}, "not a checkpoint"),
        ({"state_dict": {"a": 3}}, "other values than tensors"),
        ({"state_dict": {"a": torch.zeros(1).expand(10, 10**9)}}, "larger than the file"),
    ],
    ids=["many classes", "number", "no texts", "list", "list of weights", "no tensors", "expanded tensor"],
)
def test_other_content_is_one_sentence(tmp_path, content, changes, message):
    torch.save(content | changes, tmp_path / "a.ckpt")
    with pytest.raises(StudyError, match=message):
        load_checkpoint(tmp_path / "a.ckpt")


def test_a_pipe_or_an_endless_file_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe.ckpt")
    with pytest.raises(StudyError, match="not a regular file"):
        load_checkpoint(tmp_path / "pipe.ckpt")
    with (tmp_path / "sparse.ckpt").open("wb") as file:
        file.truncate(10 << 30)
    with pytest.raises(StudyError, match="no zip archive"):
        load_checkpoint(tmp_path / "sparse.ckpt")
