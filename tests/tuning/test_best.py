import errno
import json
import shutil

import pytest

from inat.config.trial import TrialConfig
from inat.constants import BEST_CKPT
from inat.errors import DiskFullError
from inat.training.fit import fit
from inat.tuning.best import evaluate_best_on_test, write_best
from tests.conftest import Rows
from tests.helpers import run_epochs


def end(study, best: float, weights: bool) -> str:
    trial_id = study.add_trial({"x": best}).trial_id
    run_epochs(study, trial_id, [best])
    study.end_trial(trial_id, "completed")
    if weights:
        path = study.checkpoint_dir(trial_id) / BEST_CKPT
        path.parent.mkdir(parents=True)
        path.write_text(f"weights of {trial_id}")
    return trial_id


def test_configuration_and_weights_are_of_the_same_trial(study):
    assert write_best(study) is None
    end(study, 0.5, weights=True)
    without, tied = end(study, 0.9, weights=False), end(study, 0.9, weights=True)
    assert study.best().trial_id == without
    assert write_best(study).trial_id == tied
    assert json.loads((study.directory / "best.json").read_text())["trial_id"] == tied
    assert (study.directory / BEST_CKPT).read_text() == f"weights of {tied}"


def test_the_test_score_is_kept_as_long_as_the_best_trial_is_the_same(study):
    end(study, 0.5, weights=True)
    write_best(study)
    path = study.directory / "best.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"test": {"test_acc": 0.4}}))
    write_best(study)
    assert json.loads(path.read_text())["test"] == {"test_acc": 0.4}
    better = end(study, 0.6, weights=True)
    write_best(study)
    assert "test" not in json.loads(path.read_text())
    assert (study.directory / BEST_CKPT).read_text() == f"weights of {better}"


def test_an_objective_without_weights_has_a_best_trial_too(study):
    best = end(study, 0.5, weights=False)
    assert write_best(study).trial_id == best
    assert not (study.directory / BEST_CKPT).exists()


def test_a_full_disk_is_reported_and_leaves_no_incomplete_file(study, monkeypatch):
    end(study, 0.5, weights=True)

    def no_space(source, target):
        target.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", no_space)
    with pytest.raises(DiskFullError, match=f"the disk of {study.directory} is full; .* --resume {study.directory}"):
        write_best(study)
    assert not {path.name for path in study.directory.iterdir()} & {BEST_CKPT, f".{BEST_CKPT}", "best.json"}


def test_best_ckpt_of_a_backbone_needs_no_other_weights(study, backbone_params, tmp_path, monkeypatch):
    config = TrialConfig.from_params(backbone_params | {"max_epochs": 1})
    trial_id = study.add_trial({"backbone": "mobilenet_v2", "learning_rate": 1e-2}).trial_id
    path = study.checkpoint_dir(trial_id) / BEST_CKPT
    path.parent.mkdir(parents=True)
    fit(config, [Rows(weights=path)])
    run_epochs(study, trial_id, [0.5])
    study.end_trial(trial_id, "completed")
    assert write_best(study).trial_id == trial_id
    monkeypatch.setattr(
        "inat.models.factory.find_weights", lambda *_: pytest.fail("best.ckpt needed the pretrained weights")
    )
    assert evaluate_best_on_test(study, config.data)["images"] == 6
