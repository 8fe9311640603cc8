"""The derived files of a study that somebody else made."""

from inat.config.search import SearchConfig
from inat.study.study import Study
from inat.study_check.command import check_study
from tests.helpers import run_epochs


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
