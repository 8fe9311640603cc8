import json
import shutil
import time
from datetime import UTC, datetime

import pytest

from inat.constants import LAST_DIR
from inat.errors import StudyError
from inat.study.study import Study
from inat.tuning.live.keys import ViewState
from inat.tuning.live.layout import as_text
from inat.tuning.live.study_result import describe_result
from inat.tuning.live.watch_source import WatchSource, rungs_of, wanted_of
from tests.helpers import change_info, run_epochs
from tests.tuning.live.test_study_times import PLAN

CONFIG = {"num_samples": 3, "max_epochs": 9, "grace_period": 1, "reduction_factor": 3}


@pytest.fixture
def study(tmp_path):
    study = Study.create(tmp_path / "study", {"config": CONFIG})
    yield study
    study.close()


def test_a_growing_study_is_followed(study):
    source = WatchSource(study.directory)
    assert (source().trials, source().best, source().status) == ((), None, "running")
    first = study.add_trial({"x": 1})
    run_epochs(study, first.trial_id, [0.3, 0.6], seconds=2.0, val_acc=0.5)
    page = source()
    assert [trial.trial_id for trial in page.running] == ["t0000"]
    assert (page.best.best, page.best.epoch, page.running[0].now) == (0.6, 2, 0.5)
    assert (page.wanted, page.max_epochs) == (3, 9)
    study.end_trial(first.trial_id, "stopped", "note")
    study.add_trial({"x": 2})
    page = source()
    assert [(trial.trial_id, trial.note) for trial in page.ended] == [("t0000", "note")]
    assert [trial.trial_id for trial in page.running] == ["t0001"]


def test_an_ended_study_and_an_interrupted_one_say_so(study):
    trial = study.add_trial({"x": 1})
    study.close()
    page = WatchSource(study.directory)()
    assert (page.status, page.state_of(page.running[0])) == ("not running", "paused")
    assert any("1 paused" in line for line in as_text(page, ViewState(), 100, 20))
    assert WatchSource(study.directory)().left is None
    change_info(study.directory, lambda info: info["config"].update(num_samples=1))
    opened = Study.open(study.directory)
    run_epochs(opened, trial.trial_id, [0.5])
    opened.end_trial(trial.trial_id, "completed")
    opened.close()
    assert WatchSource(study.directory)().status == "ended"


def test_where_the_time_decides_a_search_has_ended_once_its_last_training_has_begun(study):
    change_info(study.directory, lambda info: info.update(time_plan={"trials": 3}))
    for _ in range(4):
        study.end_trial(study.add_trial({"x": 1}).trial_id, "failed", "no")
    source = WatchSource(study.directory)
    assert (source().wanted, source().status, source().messages) == (None, "running", ())
    study.close()
    assert WatchSource(study.directory)().status == "not running"
    Study.create(study.directory / LAST_DIR, {"config": {}}).close()
    assert WatchSource(study.directory)().status == "ended"


def test_an_ended_search_stays_ended_while_another_command_has_its_study(study):
    for _ in range(3):
        trial = study.add_trial({"x": 1}).trial_id
        run_epochs(study, trial, [0.5])
        study.end_trial(trial, "completed")
    page = WatchSource(study.directory)()
    assert (page.status, page.left) == ("ended", None)


def test_a_search_that_a_limit_ended_is_ended_once_it_is_tested(study):
    trial = study.add_trial({"x": 1}).trial_id
    run_epochs(study, trial, [0.5])
    study.end_trial(trial, "completed")
    assert WatchSource(study.directory)().status == "running"
    (study.directory / "best.json").write_text(json.dumps({"test": {"test_acc": 0.75, "images": 1}}))
    page = WatchSource(study.directory)()
    assert (page.status, page.result) == ("ended", "test accuracy 0.7500 on 1 photo")


def test_the_time_left_of_a_budget_is_shown(study, monkeypatch):
    now = datetime.now(UTC)
    monkeypatch.setattr(time, "time", now.timestamp)
    change_info(study.directory, lambda info: info.update(time_plan=PLAN, created=now.isoformat()))
    study.add_trial({"x": 1})
    page = WatchSource(study.directory)()
    assert page.budget == 480
    assert page.elapsed + page.left == pytest.approx(480, abs=0.1)
    assert page.elapsed == pytest.approx(20, abs=0.1)  # before study.json was written
    assert "of 8 min 0 s gone (4% of the time budget), about 7 min 40 s left" in "\n".join(
        as_text(page, ViewState(), 100, 20)
    )


def test_the_last_training_is_named_with_a_command_that_a_shell_can_read(tmp_path):
    study = Study.create(tmp_path / "my study", {"config": CONFIG, "time_plan": {"trials": 3}})
    Study.create(study.directory / LAST_DIR, {"config": {}}).close()
    (study.directory / LAST_DIR / "journal.jsonl").touch()
    assert WatchSource(study.directory)().messages[-1] == f"inat watch '{study.directory}/last'"
    study.close()


@pytest.mark.parametrize(
    ("best", "last", "words"),
    [
        ({"trial_id": "t0000", "refit": {"epochs": 15}, "test": {"test_acc": 0.7339, "images": 545}}, True,
         "last training 15 epochs; test accuracy 0.7339 on 545 photos"),
        ({"trial_id": "t0000", "last_training": True, "epochs": 1}, True, "last training 1 epoch"),
        ({"trial_id": "t0000", "test": {"test_acc": 0.5}}, True, "last training not used; test accuracy 0.5000"),
        ({"trial_id": "t0000"}, False, ""),
    ],
)  # fmt: skip
def test_an_ended_study_says_what_came_of_its_last_training_and_test(study, best, last, words):
    if last:
        again = Study.create(study.directory / LAST_DIR, {"config": {}})
        trial = again.add_trial({"x": 1}).trial_id
        run_epochs(again, trial, [0.5])
        again.end_trial(trial, "completed")
        again.close()
    (study.directory / "best.json").write_text(json.dumps(best))
    assert describe_result(study.directory) == words


def test_a_half_written_line_waits_for_its_end(study):
    source = WatchSource(study.directory)
    study.add_trial({"x": 1})
    path = study.directory / "journal.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole[:-5])
    assert source().trials == ()
    path.write_bytes(whole)
    assert len(source().trials) == 1


def test_another_journal_is_read_from_its_start(study, tmp_path):
    source = WatchSource(study.directory)
    for x in range(3):
        study.add_trial({"x": x})
    assert len(source().trials) == 3
    other = Study.create(tmp_path / "other", {"config": CONFIG})
    other.add_trial({"x": 9})
    other.close()
    shutil.copy(other.directory / "journal.jsonl", study.directory / "new")
    (study.directory / "new").replace(study.directory / "journal.jsonl")
    assert [trial.params for trial in source().running] == [{"x": 9}]


def test_a_resumed_search_with_more_trials_is_noticed(study):
    source = WatchSource(study.directory)
    assert source().wanted == 3
    study.update_config(CONFIG | {"num_samples": 12})
    assert source().wanted == 12


@pytest.mark.parametrize("line", ["no json", json.dumps({"event": "end", "trial_id": "t0007"})])
def test_a_damaged_line_is_named(study, line):
    study.add_trial({"x": 1})
    with (study.directory / "journal.jsonl").open("a") as file:
        file.write(f"{line}\n")
    with pytest.raises(StudyError, match=r"journal.jsonl is damaged(: line 2 does not fit| at line 2); "):
        WatchSource(study.directory)()


def test_what_a_study_does_not_say_is_not_shown():
    assert wanted_of({"config": {}}) is None
    assert wanted_of({"config": {"num_samples": 9}, "grid": [{}, {}]}) == 2
    assert rungs_of({"max_epochs": 9}) is None
    assert rungs_of(CONFIG | {"folds": 5, "repeats": 2}).trainings == 10
    assert rungs_of(CONFIG | {"reduction_factor": 1}) is None
