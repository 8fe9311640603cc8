import os

import pandas as pd
import pytest

from analysis.schema import LAST_DIR
from inat.serve.listing import Listing, find_studies
from inat.study.study import Study
from tests.serve.conftest import set_best


def test_the_list_has_running_studies_first_with_their_progress_and_best_trial(folder, second):
    second.add(2)
    second.begin()
    second.study.write_trials()
    set_best(folder / "first", "t0003", 0.75)
    running, ended = Listing(folder).summaries()
    assert (running.name, running.state, running.done, running.planned, running.running) == (
        "second",
        "running",
        2,
        40,
        1,
    )
    assert (ended.name, ended.state, ended.done, ended.failed, ended.test) == ("first", "ended", 10, 1, 0.75)
    values = {trial: row.best_value for trial, row in second.study.trials.items() if row.history}
    assert running.best == pytest.approx(max(values.values()))
    assert values[running.best_trial] == pytest.approx(running.best)


def test_a_failed_trial_is_never_the_best(folder):
    path = folder / "first" / "trials.csv"
    trials = pd.read_csv(path)
    trials.loc[trials["state"].eq("failed"), "best_val_acc"] = 1.0
    trials.to_csv(path, index=False)
    (row,) = Listing(folder).summaries()
    assert row.best_trial != "t0009"
    assert row.best < 1


def test_a_study_that_was_interrupted_is_not_running(folder, second):
    second.add(3)
    second.study.close()
    states = {row.name: row.state for row in Listing(folder).summaries()}
    assert states == {"first": "ended", "second": "not running"}


def test_a_changed_study_is_read_again(folder, second):
    listing = Listing(folder)
    before = [row.done for row in listing.summaries() if row.name == "second"]
    second.add(3)
    after = [row.done for row in listing.summaries() if row.name == "second"]
    assert (before, after) == ([0], [3])


def test_a_running_last_training_is_named(folder, second):
    listing = Listing(folder)
    assert not any(row.last for row in listing.summaries())
    Study.create(second.study.directory / LAST_DIR, {"config": {}}).close()
    assert {row.name: row.last for row in listing.summaries()} == {"first": False, "second": True}


def test_an_ended_study_that_another_command_has_open_is_not_running(folder):
    study = Study.open(folder / "first")
    states = [row.state for row in Listing(folder).summaries()]
    study.close()
    assert states == ["ended"]


def test_an_unreadable_study_says_why(folder):
    (folder / "first" / "study.json").write_text("{")
    (row,) = Listing(folder).summaries()
    assert (row.state, row.done) == ("unreadable", 0)
    assert row.reason.startswith("study.json: ")


def test_one_study_can_be_served_alone(folder):
    assert find_studies(folder / "first") == {"first": folder / "first"}


def test_only_folders_with_a_study_are_listed(folder):
    (folder / "notes").mkdir()
    (folder / "notes.txt").touch()
    assert list(find_studies(folder)) == ["first"]


def test_a_name_that_no_address_can_have_is_left_out(folder):
    try:
        os.rename(os.fsencode(folder / "first"), os.fsencode(folder) + b"/f\xff")
    except OSError:
        pytest.skip("the file system takes only UTF-8")
    assert find_studies(folder) == {}


def test_a_folder_that_has_gone_has_no_studies(tmp_path):
    assert Listing(tmp_path / "gone").summaries() == []
