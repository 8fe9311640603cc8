import errno
from dataclasses import asdict

import pytest

from inat.config.trial import DataConfig
from inat.data.splits import inspect_data
from inat.errors import DataError, DiskFullError, NodeError
from inat.gpus import Survey
from inat.study.study import Study
from inat.tuning.ray_backend import local_gpus
from inat.tuning.ray_backend.node_checks import as_node_error, parse_node_error, why_unusable

HERE, THERE = "a1", "b2"


@pytest.fixture
def question(image_tree, tmp_path):
    data = DataConfig(data=str(image_tree()), image_size=32, cache_dir=str(tmp_path / "cache"))
    study = Study.create(tmp_path / "study", {"config": {}})
    study.close()
    text = (study.directory / "study.json").read_text()
    return [study.directory, text, asdict(data), inspect_data(data).fingerprint]


def test_a_node_with_the_study_and_the_photos_is_usable_and_nothing_is_left_behind(question):
    assert why_unusable(*question) == ""
    assert list((question[0] / "checkpoints").iterdir()) == []


def test_no_photos(question, tmp_path):
    (tmp_path / "photos").rename(tmp_path / "elsewhere")
    assert why_unusable(*question).startswith(f"{tmp_path / 'photos'} does not exist; pass --data FOLDER")


def test_other_photos(question, tmp_path):
    next((tmp_path / "photos" / "train" / "bird").iterdir()).unlink()
    assert why_unusable(*question) == f"the photos in {tmp_path / 'photos'} are not those of the study"


def test_a_gpu_that_torch_cannot_use_there(question, monkeypatch):
    monkeypatch.setattr(local_gpus, "in_new_process", lambda ask: Survey(problem="torch cannot use the GPU"))
    assert why_unusable(*question, True) == "torch cannot use the GPU"
    assert why_unusable(*question, False) == ""  # trials of the study train on the CPUs


@pytest.mark.parametrize("there", [None, '{"another": "study"}'])
def test_a_folder_that_is_not_shared(question, there):
    path = question[0] / "study.json"
    path.unlink() if there is None else path.write_text(there)
    assert "--storage-path must be a folder that all nodes share" in why_unusable(*question)


@pytest.mark.parametrize(
    ("number", "reason"),
    [(errno.EROFS, "Read-only file system"), (errno.ENOSPC, ""), (errno.EACCES, "Permission denied")],
)
def test_a_read_only_folder_is_the_fault_of_the_node_and_a_full_disk_is_not(question, monkeypatch, number, reason):
    def touch(path):
        raise OSError(number, "Read-only file system" if number == errno.EROFS else "Permission denied", str(path))

    monkeypatch.setattr("pathlib.Path.touch", touch)
    assert why_unusable(*question).endswith(reason)
    assert bool(why_unusable(*question)) == bool(reason)


@pytest.mark.parametrize("error", [DataError("no photos"), OSError(errno.EROFS, "Read-only file system")])
def test_an_error_that_only_this_node_can_have_is_a_node_error(error):
    with pytest.raises(NodeError) as raised:
        with as_node_error(THERE, HERE):
            raise error
    node, reason = parse_node_error(f"Traceback\ninat.errors.NodeError: {raised.value}\n")
    assert node == THERE
    assert str(error) in reason


@pytest.mark.parametrize(
    ("error", "node"),
    [(DataError("no photos"), HERE), (DiskFullError("full"), THERE), (ValueError("bug"), THERE), (SystemExit(), THERE)],
)
def test_other_errors_stay_as_they_are(error, node):
    with pytest.raises(type(error)) as raised:
        with as_node_error(node, HERE):
            raise error
    assert raised.value is error


def test_a_failure_of_another_kind_names_no_node():
    assert parse_node_error("ValueError: NodeError") is None
