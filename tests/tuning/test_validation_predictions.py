import json
from dataclasses import replace
from types import SimpleNamespace

import pytest

from analysis.readers.predictions import read_predictions
from inat.config.trial import DataConfig, TrialConfig
from inat.constants import ANSWERS_JSON, BEST_CKPT, VAL
from inat.data.originals import read_originals
from inat.data.splits import load_splits
from inat.study.checkpoint_file import sha256_of
from inat.training.fit import fit
from inat.training.validation_answers import ValidationAnswers
from inat.tuning.validation_predictions import write_predictions
from inat.tuning.worker.callbacks import TrialCheckpoints

pytestmark = pytest.mark.usefixtures("one_thread")


def trained(params, directory) -> DataConfig:
    """Train into ``directory`` and write the best.json of a study there."""
    config, answers = TrialConfig.from_params(params), ValidationAnswers()
    fit(config, [answers, TrialCheckpoints(directory, None, answers)])
    (directory / "best.json").write_text(json.dumps({"sha256": sha256_of(directory / BEST_CKPT)}))
    return config.data


def test_the_predictions_are_the_answers_of_the_kept_weights(cnn_params, tmp_path):
    data = trained(cnn_params | {"max_epochs": 2}, tmp_path)
    study = SimpleNamespace(directory=tmp_path)
    path = write_predictions(study, data)
    found = read_predictions(tmp_path, json.loads((tmp_path / "best.json").read_text()))
    (training,) = json.loads((tmp_path / ANSWERS_JSON).read_text())["trainings"]
    val = load_splits(data).val
    labels = val.labels[val.rows]
    assert found.images == len(labels)
    assert found.errors == (labels != training["predicted"]).sum()
    confidences = [mistake.confidence for mistake in found.mistakes]
    assert confidences == sorted(confidences, reverse=True)
    assert len(found.mistakes) == min(12, found.errors) > 0
    assert all(mistake.picture.size == (112, 112) for mistake in found.mistakes)
    assert str(tmp_path) not in path.read_text()


def test_the_same_checkpoint_is_predicted_once(cnn_params, tmp_path, monkeypatch):
    data = trained(cnn_params | {"max_epochs": 1}, tmp_path)
    study = SimpleNamespace(directory=tmp_path)
    write_predictions(study, data)
    monkeypatch.setattr("inat.training.evaluation.split_logits", lambda *_: pytest.fail("predicted again"))
    assert write_predictions(study, data) is not None
    (tmp_path / "validation_predictions.json").write_text("cut")
    with pytest.raises(BaseException, match="predicted again"):
        write_predictions(study, data)


def test_without_a_checkpoint_nothing_is_written(tmp_path):
    assert write_predictions(SimpleNamespace(directory=tmp_path), DataConfig(data="digits", image_size=8)) is None
    assert list(tmp_path.iterdir()) == []


def test_originals_of_the_validation_split_are_its_own():
    config = DataConfig(data="digits", image_size=16)
    (original,) = read_originals(config, [3], VAL)
    assert original.name == f"scan {load_splits(config).val.rows[3]}"


def test_a_refit_leaves_the_predictions_to_the_trial_that_it_repeats(cnn_params, tmp_path):
    of_search = trained(cnn_params | {"max_epochs": 1}, tmp_path / "checkpoints" / "t0000")
    trained(cnn_params | {"max_epochs": 3, "train_on_val": True}, tmp_path)
    best_json = json.loads((tmp_path / "best.json").read_text()) | {"trial_id": "t0000", "refit": {"epochs": 3}}
    (tmp_path / "best.json").write_text(json.dumps(best_json))
    study = SimpleNamespace(directory=tmp_path)
    write_predictions(study, of_search)
    found = read_predictions(tmp_path, best_json)
    (training,) = json.loads((tmp_path / "checkpoints" / "t0000" / ANSWERS_JSON).read_text())["trainings"]
    val = load_splits(of_search).val
    assert found.errors == (val.labels[val.rows] != training["predicted"]).sum()
    (tmp_path / "validation_predictions.json").unlink()
    (tmp_path / "checkpoints" / "t0000" / BEST_CKPT).unlink()
    assert write_predictions(study, of_search) is None


def test_weights_that_learnt_from_the_validation_images_predict_none_of_them(cnn_params, tmp_path):
    data = trained(cnn_params | {"max_epochs": 1, "train_on_val": True}, tmp_path)
    assert write_predictions(SimpleNamespace(directory=tmp_path), replace(data, train_on_val=False)) is None
