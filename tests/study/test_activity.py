"""Whether a study is searched, or another command has it open."""

import json
import os
import time

import pytest

from inat.constants import FINAL_DIR, LAST_DIR, RETRAINING_DIR
from inat.study.activity import is_tested, last_has_ended, search_runs
from inat.study.study import Study
from tests.helpers import run_epochs


@pytest.fixture
def study(tmp_path):
    study = Study.create(tmp_path / "study", {"config": {"num_samples": 2}})
    yield study
    study.close()


def write_test(study):
    (study.directory / "best.json").write_text(json.dumps({"test": {"test_acc": 0.5}}))
    later = time.time() + 5
    os.utime(study.directory / "best.json", (later, later))


def test_a_search_runs_while_its_process_has_the_study(study):
    assert search_runs(study.directory)
    assert not search_runs(study.directory, over=True)
    study.close()
    assert not search_runs(study.directory)


def test_a_tested_study_that_another_command_opens_is_not_searched(study):
    write_test(study)
    assert is_tested(study.directory)
    assert not search_runs(study.directory)


def test_a_tested_study_that_is_resumed_is_searched(study):
    write_test(study)
    study.update_config({"num_samples": 4})
    later = time.time() + 10
    os.utime(study.directory / "study.json", (later, later))
    assert not is_tested(study.directory)
    assert search_runs(study.directory)


def test_retrainings_are_no_search(study):
    runs = Study.create(study.directory / FINAL_DIR / RETRAINING_DIR, {"config": {}})
    assert not search_runs(study.directory)
    runs.close()
    assert search_runs(study.directory)


def test_nothing_is_searched_after_the_last_training(study):
    last = Study.create(study.directory / LAST_DIR, {"config": {}})
    trial = last.add_trial({"x": 1}).trial_id
    run_epochs(last, trial, [0.5])
    assert (last_has_ended(study.directory), search_runs(study.directory)) == (False, True)
    last.end_trial(trial, "completed")
    last.close()
    assert (last_has_ended(study.directory), search_runs(study.directory)) == (True, False)


@pytest.mark.parametrize("text", ["{", "[]", "{}"])
def test_a_best_json_without_a_test_says_nothing(study, text):
    (study.directory / "best.json").write_text(text)
    assert not is_tested(study.directory)
