import pytest

from inat.serve.error_files import find, read


@pytest.fixture
def study(tmp_path):
    folder = tmp_path / "study" / "errors"
    folder.mkdir(parents=True)
    for name in ("t0001.txt", "t0001-attempt-1.txt", "t0002.hang.txt", "notes.md"):
        (folder / name).write_text(name)
    return folder.parent


def test_each_trial_has_its_files_also_those_of_earlier_attempts(study):
    assert {trial: [path.name for path in paths] for trial, paths in find(study).items()} == {
        "t0001": ["t0001-attempt-1.txt", "t0001.txt"], "t0002": ["t0002.hang.txt"],
    }  # fmt: skip


def test_a_study_without_failures_has_none(tmp_path):
    assert find(tmp_path) == {}


def test_a_link_that_leads_out_of_the_study_is_not_followed(study, tmp_path):
    (tmp_path / "private.txt").write_text("secret")
    (study / "errors" / "t0003.txt").symlink_to(tmp_path / "private.txt")
    (path,) = find(study)["t0003"]
    assert read(path, study).startswith("t0003.txt cannot be read: a link that leads out")


def test_a_folder_that_leads_out_of_the_study_is_not_followed(study, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "errors").symlink_to(study / "errors")
    assert find(other) == {}
