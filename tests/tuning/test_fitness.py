import errno
from dataclasses import asdict

import pytest

from inat.config import DataConfig
from inat.data.splits import inspect_data
from inat.errors import DataError, DiskFullError, MachineError
from inat.results import Study
from inat.tuning.fitness import accused, blaming_the_machine, unfit_because

HERE, THERE = "a1", "b2"


@pytest.fixture
def question(photo_tree, tmp_path):
    data = DataConfig(data=str(photo_tree()), image_size=32, cache_dir=str(tmp_path / "cache"))
    study = Study.create(tmp_path / "study", {"config": {}})
    study.close()
    text = (study.directory / "study.json").read_text()
    return [study.directory, text, asdict(data), inspect_data(data).fingerprint]


def test_a_machine_with_the_study_and_the_photos_is_fit_and_nothing_is_left_behind(question):
    assert unfit_because(*question) == ""
    assert list((question[0] / "checkpoints").iterdir()) == []


def test_no_photos(question, tmp_path):
    (tmp_path / "photos").rename(tmp_path / "elsewhere")
    assert unfit_because(*question).startswith(f"{tmp_path / 'photos'} does not exist; pass --data FOLDER")


def test_other_photos(question, tmp_path):
    next((tmp_path / "photos" / "train" / "bird").iterdir()).unlink()
    assert unfit_because(*question) == f"the photos in {tmp_path / 'photos'} are not those of the study"


@pytest.mark.parametrize("there", [None, '{"another": "study"}'])
def test_a_folder_that_is_not_shared(question, there):
    path = question[0] / "study.json"
    path.unlink() if there is None else path.write_text(there)
    assert "--storage-path must be a folder that all machines share" in unfit_because(*question)


@pytest.mark.parametrize(
    ("number", "reason"),
    [(errno.EROFS, "Read-only file system"), (errno.ENOSPC, ""), (errno.EACCES, "Permission denied")],
)
def test_a_folder_that_cannot_be_written_is_the_machines_and_a_full_disk_is_not(question, monkeypatch, number, reason):
    def touch(path):
        raise OSError(number, "Read-only file system" if number == errno.EROFS else "Permission denied", str(path))

    monkeypatch.setattr("pathlib.Path.touch", touch)
    assert unfit_because(*question).endswith(reason)
    assert bool(unfit_because(*question)) == bool(reason)


@pytest.mark.parametrize("error", [DataError("no photos"), OSError(errno.EROFS, "Read-only file system")])
def test_what_only_this_machine_can_lack_is_its_fault(error):
    with pytest.raises(MachineError) as told:
        with blaming_the_machine(THERE, HERE):
            raise error
    node, reason = accused(f"Traceback\ninat.errors.MachineError: {told.value}\n")
    assert node == THERE
    assert str(error) in reason


@pytest.mark.parametrize(
    ("error", "node"),
    [(DataError("no photos"), HERE), (DiskFullError("full"), THERE), (ValueError("bug"), THERE), (SystemExit(), THERE)],
)
def test_everything_else_is_not(error, node):
    with pytest.raises(type(error)) as raised:
        with blaming_the_machine(node, HERE):
            raise error
    assert raised.value is error


def test_a_failure_of_another_kind_accuses_nobody():
    assert accused("ValueError: MachineError") is None
