"""The derived files of a study that somebody else made, or that are damaged."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from inat.config.search import SearchConfig
from inat.config.trial import TrialConfig
from inat.errors import ConfigError, StudyError
from inat.study.study import Study
from inat.study_check import derived
from inat.study_check.command import check_study
from inat.study_check.journal_lines import read_lines
from inat.study_check.problems import Removed
from inat.training.fit import fit
from inat.tuning.best_json import read_best
from inat.tuning.space import presets
from tests.conftest import Rows
from tests.helpers import run_epochs

PARAMS = {"first_layer_filters": 8, "filter_org": 1, "conv_layers": 2, "activation": "relu", "dropout": 0.2,
          "batch_norm": True, "num_neurons_dense": 32, "learning_rate": 1e-3, "batch_size": 64,
          "use_augmentation": False}  # fmt: skip


@pytest.fixture
def directory(tmp_path) -> Path:
    """A search of the small space with two ended trials and an intact study.db."""
    config = SearchConfig(data="digits", image_size=16, space="small")
    space = presets.space_to_json(presets.space_of(config))
    study = Study.create(tmp_path / "study", {"config": config.to_json(), "space": space})
    for best in (0.5, 0.6):
        trial = study.add_trial({name: value for name, value in PARAMS.items() if name in space})
        run_epochs(study, trial.trial_id, [best])
        study.end_trial(trial.trial_id, "completed")
    study.close()
    (study.directory / "study.db").write_text("damaged")
    assert check_study(study.directory, True, print)[1] == 0
    assert check_study(study.directory, False, print) == (0, 0)
    return study.directory


FAULTS = {
    "a list as id": "UPDATE trial_user_attributes SET value_json = '[1]' WHERE key = 'trial_id'",
    "an object as id": "UPDATE trial_user_attributes SET value_json = '{}' WHERE key = 'trial_id'",
    "nested ids": f"UPDATE trial_user_attributes SET value_json = '{'[' * 100_000}' WHERE key = 'trial_id'",
    "a number as id": "UPDATE trial_user_attributes SET value_json = '3' WHERE key = 'trial_id'",
    "a blob as id": "UPDATE trial_user_attributes SET value_json = x'ff' WHERE key = 'trial_id'",
    "no studies": "DROP TABLE studies",
    "another version": "UPDATE version_info SET schema_version = 3",
    "another state": "UPDATE trials SET state = 'RUNNING'",
    "another direction": "UPDATE study_directions SET direction = 'MINIMIZE'",
    "another name": "UPDATE studies SET study_name = 'x'",
    "a view": "CREATE VIEW again AS SELECT 1",
    "a missing trial": "DELETE FROM trial_user_attributes WHERE trial_id = 1",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_strange_database_is_named_and_made_again(directory, fault):
    with closing(sqlite3.connect(directory / "study.db")) as database, database:
        database.execute(FAULTS[fault])
    lines: list[str] = []
    assert check_study(directory, False, lines.append) == (1, 1)
    assert lines[0].startswith("study.db ")
    assert check_study(directory, True, print)[1] == 0
    assert check_study(directory, False, print) == (0, 0)


def test_a_repair_that_fails_counts_as_not_mended(directory, monkeypatch):
    class Failing(derived.OptunaDbWriter):
        def open(self):
            raise OSError("no space")

    (directory / "study.db").write_text("damaged")
    monkeypatch.setattr(derived, "OptunaDbWriter", Failing)
    lines: list[str] = []
    assert check_study(directory, True, lines.append) == (1, 1)
    assert "not mended: study.db cannot be written (no space)" in lines[1]


def test_a_lost_best_checkpoint_is_named(directory):
    best = {"trial_id": "t0001", "best_val_acc": 0.6, "sha256": "ab"}
    (directory / "best.json").write_text(json.dumps(best))
    lines: list[str] = []
    check_study(directory, False, lines.append)
    assert lines == ["best.ckpt is missing"]


@pytest.mark.parametrize(
    "content",
    [{"test": {}}, {"test": {"test_acc": "x", "images": 3}}, {"test": []},
     {"test": {"test_acc": 10**400, "images": 3}}, {"trial_id": [1]}, {"best_val_acc": "0.5"}, {"params": 3},
     {"sha256": 5}],
    ids=lambda content: str(content)[:40],
)  # fmt: skip
def test_a_best_json_with_values_of_other_types_is_damaged(directory, content):
    (directory / "best.json").write_text(json.dumps({"trial_id": "t0001", "best_val_acc": 0.6} | content))
    with pytest.raises(StudyError, match=r"best.json is damaged; remove it"):
        read_best(directory)
    lines: list[str] = []
    assert check_study(directory, True, lines.append)[1] == 0
    assert lines[0] == "best.json is damaged"


def test_a_repair_does_not_run_the_python_file_that_only_the_study_names(tmp_path):
    ran = tmp_path / "ran"
    space = tmp_path / "space.py"
    space.write_text(f"import pathlib\npathlib.Path({str(ran)!r}).touch()\ndef space(): return {{'dropout': 0.2}}\n")
    config = SearchConfig(data="digits", image_size=16, space=str(space))
    study = Study.create(tmp_path / "study", {"config": config.to_json()})
    trial = study.add_trial({"dropout": 0.2})
    run_epochs(study, trial.trial_id, [0.5])
    study.end_trial(trial.trial_id, "completed")
    study.close()
    (study.directory / "study.db").write_text("damaged")
    lines: list[str] = []
    assert check_study(study.directory, True, lines.append) == (1, 1)
    assert f"not mended: study.db needs the search space in {space}; --resume STUDY writes it again" in lines[1]
    assert not ran.exists()


def test_a_folder_of_weights_that_only_the_study_names_is_not_read(tmp_path, backbone_params, weights_dir, monkeypatch):
    study = Study.create(tmp_path / "study", {"config": {"weights_dir": str(weights_dir)}})
    trial_id = study.add_trial({"backbone": "mobilenet_v2", "learning_rate": 1e-2}).trial_id
    path = study.checkpoint_dir(trial_id) / "best.ckpt"
    path.parent.mkdir(parents=True)
    fit(TrialConfig.from_params(backbone_params | {"max_epochs": 1}), [Rows(weights=path)])
    run_epochs(study, trial_id, [0.5])
    study.end_trial(trial_id, "completed")
    study.close()
    asked = []

    def find_weights(backbone, folder=None, **_):
        asked.append(folder)
        raise ConfigError("no weights of mobilenet_v2")

    monkeypatch.setattr("inat.models.factory.find_weights", find_weights)
    (study.directory / "best.json").write_text("damaged")
    lines = []
    assert check_study(study.directory, True, lines.append) == (1, 1)
    assert asked == [None]
    assert lines[-1].endswith(f"no weights of mobilenet_v2; or resume the study with --weights-dir {weights_dir}")


@pytest.mark.parametrize(("space", "message"), [
    (None, "study.json has no space; restore it from a copy"),
    ({"width": {"low": -1.0, "high": 1.0, "scale": "loguniform"}}, "the space in study.json cannot be used"),
])  # fmt: skip
def test_a_database_needs_the_modern_space_that_the_study_began_with(tmp_path, space, message):
    info = {"config": SearchConfig(data="digits", image_size=16, space="modern").to_json()}
    study = Study.create(tmp_path / "study", info if space is None else info | {"space": space})
    study.close()
    (study.directory / "study.db").write_text("damaged")
    problem, *_ = derived.check_database(study.directory, read_lines(study.directory)[1], Removed(study.directory))
    with pytest.raises(StudyError, match=message):
        problem.mend()
