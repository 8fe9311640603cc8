from pathlib import Path

import numpy as np
import pytest
import torch

from inat.config.trial import DataConfig
from inat.data.splits import list_test_images
from inat.errors import SearchError, StudyError
from inat.finalize import test_evaluation
from inat.finalize.checkpoints import sha256_of
from inat.finalize.evaluation_file import read_evaluation
from inat.finalize.test_evaluation import class_probabilities
from inat.finalize.test_evaluation import evaluate_best_on_test as score_once
from inat.training.evaluation import SplitLogits


@pytest.fixture
def evaluations(monkeypatch) -> list:
    """(checkpoint, split) of each evaluation; its logits are those of a perfect model on the digits."""
    seen = []

    def split_logits(checkpoint, split, data):
        seen.append((checkpoint.read_text(), split))
        logits = torch.eye(10)[torch.arange(360) % 10]
        return SplitLogits(logits, torch.arange(360) % 10, tuple("0123456789"), data, "32-true")

    monkeypatch.setattr(test_evaluation, "split_logits", split_logits)
    return seen


DIGITS = DataConfig(data="digits", image_size=16)


def test_a_model_is_evaluated_once(tmp_path, evaluations):
    model = tmp_path / "best.ckpt"
    model.write_text("weights")
    first = score_once(model, tmp_path, DIGITS)
    again = score_once(model, tmp_path, DIGITS)
    assert evaluations == [("weights", "test")]
    assert (first.evaluations, again.evaluations) == (1, 1)
    assert again.model == first.model == sha256_of(model)
    assert again.names == first.names
    assert len(set(first.names)) == 360
    assert np.array_equal(again.logits, first.logits)
    assert np.array_equal(again.labels, first.labels)
    assert class_probabilities(first).sum(axis=1) == pytest.approx(np.ones(360), abs=1e-6)


def test_another_model_is_evaluated_and_counted(tmp_path, evaluations):
    model = tmp_path / "best.ckpt"
    for number, text in enumerate(("one", "two", "three"), start=1):
        model.write_text(text)
        assert score_once(model, tmp_path, DIGITS).evaluations == number
    assert [text for text, _ in evaluations] == ["one", "two", "three"]


def test_a_model_that_wins_again_is_not_evaluated_again(tmp_path, evaluations):
    model = tmp_path / "best.ckpt"
    for text, count in (("one", 1), ("two", 2), ("one", 2), ("two", 2), ("three", 3), ("one", 3)):
        model.write_text(text)
        assert score_once(model, tmp_path, DIGITS).evaluations == count
    assert [text for text, _ in evaluations] == ["one", "two", "three"]


def test_the_partial_file_of_a_killed_process_is_ignored(tmp_path, evaluations):
    model = tmp_path / "best.ckpt"
    model.write_text("one")
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / f".{sha256_of(model)}.npz").write_bytes(b"PK half")
    assert score_once(model, tmp_path, DIGITS).evaluations == 1
    assert len(evaluations) == 1


def test_the_file_of_an_earlier_version_is_used(tmp_path, evaluations):
    model = tmp_path / "best.ckpt"
    model.write_text("third")
    kept = score_once(model, tmp_path, DIGITS)
    stored = tmp_path / "tests" / f"{kept.model}.npz"
    with np.load(stored) as content:
        np.savez(tmp_path / "test_logits.npz", **dict(content) | {"evaluations": np.array(3)})
    stored.unlink()
    assert score_once(model, tmp_path, DIGITS).evaluations == 3
    model.write_text("fourth")
    assert score_once(model, tmp_path, DIGITS).evaluations == 4
    model.write_text("third")
    assert score_once(model, tmp_path, DIGITS).evaluations == 4
    assert [text for text, _ in evaluations] == ["third", "fourth"]


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_a_model_with_output_that_is_not_finite_has_no_score(tmp_path, monkeypatch, wrong):
    logits = torch.eye(10)[torch.arange(360) % 10]
    logits[[7, 9], 3] = wrong
    output = SplitLogits(logits, torch.arange(360) % 10, tuple("0123456789"), DIGITS, "16-mixed")
    monkeypatch.setattr(test_evaluation, "split_logits", lambda *_: output)
    model = tmp_path / "best.ckpt"
    model.write_text("weights")
    first = list_test_images(DIGITS)[7]
    with pytest.raises(
        SearchError, match=f"precision 16-mixed .* NaN or infinite for 2 of 360 test images, first for .*{first}."
    ):
        score_once(model, tmp_path, DIGITS)
    assert list((tmp_path / "tests").iterdir()) == []


def test_file_names_that_are_not_unicode_survive(tmp_path, evaluations, monkeypatch):
    odd = [f"val/bird/{i}\udcff.jpg" for i in range(360)]
    monkeypatch.setattr(test_evaluation, "list_test_images", lambda data: odd)
    (tmp_path / "best.ckpt").write_text("weights")
    score_once(tmp_path / "best.ckpt", tmp_path, DIGITS)
    assert list(score_once(tmp_path / "best.ckpt", tmp_path, DIGITS).names) == odd


def test_a_damaged_file_is_reported_and_not_replaced(tmp_path, evaluations):
    (tmp_path / "best.ckpt").write_text("weights")
    score_once(tmp_path / "best.ckpt", tmp_path, DIGITS)
    next((tmp_path / "tests").iterdir()).write_bytes(b"PK nothing")
    with pytest.raises(StudyError, match=r"tests/.*.npz.* is damaged; restore it from a backup, or remove it to"):
        score_once(tmp_path / "best.ckpt", tmp_path, DIGITS)
    assert len(evaluations) == 1


def test_a_file_of_another_version_is_not_called_damaged(tmp_path, evaluations):
    (tmp_path / "best.ckpt").write_text("weights")
    kept = score_once(tmp_path / "best.ckpt", tmp_path, DIGITS)
    with np.load(tmp_path / "tests" / f"{kept.model}.npz") as content:
        np.savez(tmp_path / "test_logits.npz", **{name: content[name] for name in content if name != "arithmetic"})
    with pytest.raises(StudyError, match=r"test_logits.npz.* lacks arithmetic: another version .* wrote it; remove it"):
        score_once(tmp_path / "best.ckpt", tmp_path, DIGITS)


def test_a_missing_checkpoint_is_reported(tmp_path):
    with pytest.raises(StudyError, match=r"checkpoint .*best.ckpt .*No such file or directory.; restore it, or remove"):
        sha256_of(tmp_path / "runs" / "checkpoints" / "t0000" / "best.ckpt")


class Payload:
    """An object that writes a file when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return (Path.write_text, (self.target, "unpickled"))


def test_a_stored_evaluation_runs_no_code_and_fills_no_memory(tmp_path):
    fields = {name: np.zeros(3) for name in ("logits", "labels", "model", "evaluations", "arithmetic")}
    names = np.array([Payload(tmp_path / "ran")], dtype=object)
    np.savez(tmp_path / "pickled.npz", names=names, allow_pickle=True, **fields)
    np.savez_compressed(tmp_path / "compressed.npz", names=np.zeros(3), **fields)
    for name in ("pickled", "compressed"):
        with pytest.raises(StudyError, match=rf"{name}.npz, the stored result of an evaluation .* is damaged"):
            read_evaluation(tmp_path / f"{name}.npz")
    assert not (tmp_path / "ran").exists()
