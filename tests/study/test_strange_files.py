"""A study that somebody else made: nothing outside of it is changed, and no pipe or endless file is waited for."""

import os
from pathlib import Path

import pytest

from inat.constants import CHECKPOINTS_DIR
from inat.errors import StudyError
from inat.study.checkpoint_retention import prune_checkpoints
from inat.study.study import Study
from inat.study_check.problems import Removed

CONTENT = "mine\nhalf a line"
FILES = ("journal.jsonl", "study.json", "trials.csv", "history.csv", "study.db", "best.ckpt", ".lock")


@pytest.fixture
def directory(tmp_path) -> Path:
    study = Study.create(tmp_path / "study", {"config": {}})
    trial = study.add_trial({"x": 1})
    study.add_epoch(trial.trial_id, {"epoch": 1, "best_val_acc": 0.5})
    study.end_trial(trial.trial_id, "completed")
    study.close()
    (study.checkpoint_dir(trial.trial_id)).mkdir(parents=True)
    return study.directory


@pytest.fixture
def outside(tmp_path) -> Path:
    """A folder with one file, in which nothing may change."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "mine").write_text(CONTENT)
    yield folder
    assert [path.name for path in folder.iterdir()] == ["mine"]
    assert (folder / "mine").read_text() == CONTENT


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_a_link_out_of_the_study_is_refused(directory, outside, name):
    (directory / name).unlink(missing_ok=True)
    (directory / name).symlink_to(outside / "mine")
    with pytest.raises(StudyError, match=rf"{name} .*link"):
        Study.open(directory)


@pytest.mark.parametrize(
    "name", ["checkpoints", "errors", "final", "ray", "tensorboard", "wandb", "checkpoints/t0000", "final/retraining"]
)
def test_a_folder_that_is_a_link_out_of_the_study_is_refused(directory, outside, name):
    place = directory / name
    if place.is_dir():
        place.rename(directory / "elsewhere")
    place.parent.mkdir(exist_ok=True)
    place.symlink_to(outside)
    with pytest.raises(StudyError, match=rf"{name} is a link to {outside}, outside of the study, where nothing may be"):
        Study.open(directory)


def test_a_checkpoint_that_is_a_link_out_of_the_study_is_refused(directory, outside):
    (directory / CHECKPOINTS_DIR / "t0000" / "best.ckpt").symlink_to(outside / "mine")
    with pytest.raises(StudyError, match=r"t0000/best.ckpt is a link to"):
        Study.open(directory)


@pytest.mark.parametrize("name", [".trials.csv", ".history.csv", ".study.json"])
def test_the_name_of_a_temporary_file_may_be_a_link_but_is_not_followed(directory, outside, name):
    (directory / name).symlink_to(outside / "mine")
    study = Study.open(directory)
    study.update_config({"a": 1})
    study.close()
    assert not (directory / name).is_symlink()


DEEP = ("tensorboard/t0000-x", "wandb/run-1/files", "ray/20261129-154939/run_trial", "errors/t0000.txt", "data/x/y",
        "interpret/filters", "removed-20270101-000000", "final/retraining/checkpoints/t0000/best.ckpt")  # fmt: skip


@pytest.mark.parametrize("name", DEEP)
@pytest.mark.parametrize("target", ["folder", "file", "missing"])
def test_a_link_at_any_depth_of_a_written_folder_is_refused(directory, outside, name, target):
    (directory / name).parent.mkdir(parents=True, exist_ok=True)
    (directory / name).symlink_to({"folder": outside, "file": outside / "mine"}.get(target, outside / "new"))
    with pytest.raises(StudyError, match=f"{name} is a link to"):
        Study.open(directory)


def test_a_pipe_in_a_written_folder_is_refused(directory):
    (directory / "tensorboard").mkdir()
    os.mkfifo(directory / "tensorboard" / "events")
    with pytest.raises(StudyError, match="tensorboard/events is no file or folder of a study"):
        Study.open(directory)


def test_the_links_that_wandb_makes_are_allowed(directory, outside):
    run = directory / "wandb" / "offline-run-1" / "logs"
    run.mkdir(parents=True)
    (run / "debug-core.log").symlink_to(outside / "log")
    (directory / "wandb" / "latest-run").symlink_to("offline-run-1")
    Study.open(directory).close()


def test_a_repair_keeps_nothing_behind_a_link(directory, outside):
    removed = Removed(directory)
    removed.directory.symlink_to(outside)
    with pytest.raises(StudyError, match="is a link that leads out of"):
        removed.move(directory / "trials.csv")
    assert (directory / "trials.csv").exists()


def test_links_within_the_study_and_to_the_study_are_allowed(directory, tmp_path):
    (directory / "best.ckpt").symlink_to("checkpoints/t0000/best.ckpt")
    (directory / CHECKPOINTS_DIR / "t0000" / "best.ckpt").touch()
    (tmp_path / "link").symlink_to(directory)
    study = Study.open(tmp_path / "link")
    prune_checkpoints(study, keep=1)
    study.close()


@pytest.mark.parametrize("name", ["journal.jsonl", "study.json", "trials.csv", "study.db", ".lock"])
def test_a_pipe_is_refused_instead_of_waited_for(directory, name):
    (directory / name).unlink(missing_ok=True)
    os.mkfifo(directory / name)
    with pytest.raises(StudyError, match=r"not a regular file|is no file or folder of a study"):
        Study.open(directory)


@pytest.mark.parametrize("name", ["journal.jsonl", "study.json"])
def test_an_endless_file_is_refused_instead_of_read(directory, name):
    with (directory / name).open("ab") as file:
        file.truncate(10 << 30)
    with pytest.raises(StudyError, match=r"larger than the allowed|is no file or folder of a study"):
        Study.open(directory)


def test_a_folder_in_place_of_a_file_is_refused(directory):
    (directory / "journal.jsonl").unlink()
    (directory / "journal.jsonl").mkdir()
    with pytest.raises(StudyError, match="is no file or folder of a study"):
        Study.open(directory)
