"""Damage each line of a journal in turn, and repair it: no other trial may lose anything."""

import json
from pathlib import Path

import pytest
from ray import tune

from inat.study.journal import Journal
from inat.study.study import Study
from inat.study_check.command import check_study
from inat.tuning.rungs import Rungs
from inat.tuning.sampling.options import SearcherOptions
from inat.tuning.sampling.searcher import BudgetAwareOptunaSearch
from tests.helpers import run_epochs

LINES = 13  # of the journal below


@pytest.fixture
def directory(study: Study) -> Path:
    """Four trials, one of them running, with hyperparameters of every type."""
    for number, (state, epochs) in enumerate((("completed", 3), ("stopped", 1), ("failed", 0), ("running", 2))):
        params = {
            "lr": 0.1 + number / 3,
            "layers": 2 + number,
            "bn": number % 2 == 0,
            "act": "=relu" if number else "mish",
        }
        trial = study.add_trial(params)
        run_epochs(study, trial.trial_id, [0.1 * e for e in range(1, epochs + 1)])
        if state != "running":
            study.end_trial(trial.trial_id, state, "broken" if state == "failed" else "")
    study.close()
    return study.directory


def contents(directory: Path) -> dict[str, tuple]:
    trials = Journal.read(directory).trials.values()
    return {t.trial_id: (t.params, t.created, t.state, t.error, t.history) for t in trials}


def damage(directory: Path, *numbers: int) -> None:
    path = directory / "journal.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    assert len(lines) == LINES
    for number in numbers:
        lines[number] = bytes([lines[number][0] ^ 2]) + lines[number][1:]
    path.write_bytes(b"".join(lines))


@pytest.mark.parametrize("number", range(LINES))
def test_a_damaged_line_costs_no_other_trial(directory, number):
    before = contents(directory)
    event = json.loads((directory / "journal.jsonl").read_text().splitlines()[number])
    damage(directory, number)
    assert check_study(directory, True, print)[1] == 0
    after = contents(directory)
    hit = event["trial_id"]
    assert {t: v for t, v in after.items() if t != hit} == {t: v for t, v in before.items() if t != hit}
    assert after[hit][0] == before[hit][0]
    if event["event"] == "trial":
        assert after == before
    assert check_study(directory, False, print) == (0, 0)


def test_a_trial_that_no_other_file_knows_stays_as_a_failed_one_and_the_search_goes_on(directory):
    before = contents(directory)
    damage(directory, 0)
    (directory / "trials.csv").unlink()
    lines: list[str] = []
    assert check_study(directory, True, lines.append)[1] == 0
    assert "2 lines removed, t0000 failed; the whole journal is kept" in lines[1]
    after = contents(directory)
    assert {t: v for t, v in after.items() if t != "t0000"} == {t: v for t, v in before.items() if t != "t0000"}
    params, _, state, error, history = after["t0000"]
    assert (params, state, error) == ({}, "failed", "its line in the journal was damaged")
    assert history == before["t0000"][4]
    space = {"lr": tune.uniform(0, 2), "layers": tune.choice([2, 3, 4, 5]), "bn": tune.choice([True, False]),
             "act": tune.choice(["mish", "=relu"])}  # fmt: skip
    study = Study.open(directory)
    searcher = BudgetAwareOptunaSearch(study, space, SearcherOptions(rungs=Rungs(1, 3, 9), seed=0))
    assert searcher.next_trial_id() == "t0003"
    assert searcher.suggest("t0003")["lr"] == before["t0003"][0]["lr"]
    assert searcher.suggest("t0004")["lr"] <= 2
    study.close()


def test_of_a_journal_whose_lines_are_mostly_damaged_nothing_is_removed(directory):
    damage(directory, *range(0, 7))
    (directory / "checkpoints" / "t0000").mkdir(parents=True)
    before = {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}
    lines: list[str] = []
    assert check_study(directory, True, lines.append) == (1, 1)
    assert "of 13 lines do not fit, too many to remove; restore it from a copy" in lines[0]
    assert {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()} == before
    assert (directory / "checkpoints" / "t0000").is_dir()
