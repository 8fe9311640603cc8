from dataclasses import replace

from analysis.report.sections.study_record import study_record_section
from tests.analysis.studies import study_of


def test_the_record_has_the_settings_but_no_folders_of_the_machine():
    config = {"storage_path": "/home/me/results", "cache_dir": "/home/me/.cache", "weights_dir": "/w", "max_epochs": 9}
    info = {"config": config, "seed": 3, "digests": {"config.max_epochs": "abc"}}
    section = study_record_section(replace(study_of([{"a": 1}], [[0.5]]), info=info))
    assert section.items[-1].frame.values.tolist() == [["config.max_epochs", "9"], ["seed", "3"]]
