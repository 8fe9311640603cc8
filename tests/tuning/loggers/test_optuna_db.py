import sqlite3
import time
from contextlib import closing

import optuna
import pytest
from ray import tune

from inat.constants import STUDY_DB
from inat.tuning.loggers.optuna_db import OptunaDbWriter
from inat.tuning.rungs import Rungs
from inat.tuning.sampling.options import SearcherOptions
from inat.tuning.sampling.searcher import BudgetAwareOptunaSearch
from tests.helpers import run_epochs

RUNGS = Rungs(grace=1, factor=3, max_epochs=9)


def mirror_of(study) -> OptunaDbWriter:
    options = SearcherOptions(rungs=RUNGS, stopped="last")
    return OptunaDbWriter(study, BudgetAwareOptunaSearch(study, {"x": tune.uniform(0.0, 1.0)}, options))


def end(study, best, state):
    trial = study.add_trial({"x": best})
    run_epochs(study, trial.trial_id, [best / 2, best])
    study.end_trial(trial.trial_id, state)
    return trial


def read(study) -> list[optuna.trial.FrozenTrial]:
    return optuna.load_study(storage=f"sqlite:///{study.directory / STUDY_DB}", study_name="trials").get_trials()


def known_trials(study) -> int:
    with closing(sqlite3.connect(study.directory / STUDY_DB)) as database:
        try:
            return database.execute("SELECT COUNT(*) FROM trials").fetchone()[0]
        except sqlite3.OperationalError:  # the tables are not there yet
            return 0


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_ended_trials_appear_once_also_those_of_an_earlier_search(study):
    with mirror_of(study) as mirror:
        mirror(end(study, 0.5, "stopped"))
        mirror(end(study, 0.7, "failed"))
    end(study, 0.9, "completed")  # the driver was killed before it could mirror this one
    with mirror_of(study) as mirror:
        mirror(end(study, 0.6, "completed"))
    assert mirror.error is None
    trials = read(study)
    assert [t.user_attrs["trial_id"] for t in trials] == ["t0000", "t0001", "t0002", "t0003"]
    assert [t.state.name for t in trials] == ["COMPLETE", "FAIL", "COMPLETE", "COMPLETE"]
    assert trials[0].value == 0.5
    assert trials[0].intermediate_values == {1: 0.25, 2: 0.5}
    assert trials[0].user_attrs == {
        "trial_id": "t0000", "state": "stopped", "best_val_acc": 0.5, "epochs": 2, "rung": 1
    }  # fmt: skip


def test_a_database_that_cannot_be_written_does_not_stop_the_search(study):
    (study.directory / STUDY_DB).write_text("no database")
    with mirror_of(study) as mirror:
        mirror(end(study, 0.5, "stopped"))
    assert mirror.error is not None


def test_a_database_with_a_trigger_is_left_alone(study):
    with mirror_of(study) as mirror:
        mirror(end(study, 0.5, "stopped"))
    with closing(sqlite3.connect(study.directory / STUDY_DB)) as database:
        database.execute("CREATE TRIGGER again AFTER INSERT ON trials BEGIN DELETE FROM trials; END")
        database.commit()
    with mirror_of(study) as mirror:
        mirror(end(study, 0.7, "completed"))
    assert str(mirror.error) == "it has the trigger 'again', which no database of Optuna has; remove the file"


def test_a_trial_can_be_read_while_the_search_goes_on(study):
    with mirror_of(study) as mirror:
        mirror(end(study, 0.5, "stopped"))
        until = time.monotonic() + 60
        while not known_trials(study):
            assert time.monotonic() < until
            time.sleep(0.01)
        assert known_trials(study) == 1


def test_a_database_with_other_tables_is_written_by_optuna(study, monkeypatch):
    monkeypatch.setattr("inat.tuning.loggers.optuna_db.known_tables", lambda database: False)
    for best in (0.5, 0.7):
        with mirror_of(study) as mirror:
            mirror(end(study, best, "completed"))
    assert mirror.error is None
    assert [t.user_attrs["trial_id"] for t in read(study)] == ["t0000", "t0001"]
