"""Failed trials that run again."""

import json
from pathlib import Path

import optuna
import pytest
from ray import tune

from analysis.study import load_study
from inat.cli import parse_search
from inat.config.search import SearchConfig
from inat.errors import ConfigError
from inat.study.journal import Journal
from inat.study.study import Study
from inat.study_check.command import check_study
from inat.tuning import search
from inat.tuning.ray_backend.asha import StudyASHA, asha_for
from inat.tuning.retry_failed import describe_retries, retry_failed_trials
from inat.tuning.rungs import Rungs
from inat.tuning.sampling.options import SearcherOptions
from inat.tuning.sampling.searcher import BudgetAwareOptunaSearch
from tests.helpers import run_epochs

ASHA = {"max_epochs": 9, "grace_period": 1, "reduction_factor": 3}
SPACE = {"x": tune.choice([1, 2, 3, 4])}


def add(study: Study, x: int, accuracies: list[float], state: str, error: str = "") -> str:
    trial_id = study.add_trial({"x": x}).trial_id
    run_epochs(study, trial_id, accuracies)
    if state != "running":
        study.end_trial(trial_id, state, error)
    return trial_id


@pytest.fixture
def failed_study(study: Study) -> Study:
    """A completed trial, one that failed after an epoch, one that failed in none, and one that is running."""
    add(study, 1, [0.5, 0.6], "completed")
    add(study, 2, [0.9], "failed", "ValueError: no")
    add(study, 3, [], "failed", "CUDA out of memory")
    add(study, 4, [0.3], "running")
    for name in ("t0001.txt", "t0001.hang.txt", "t0002.txt"):
        (study.directory / "errors").mkdir(exist_ok=True)
        (study.directory / "errors" / name).write_text(f"text of {name}")
    return study


def test_a_failed_trial_begins_again_under_its_id_and_keeps_its_errors(failed_study):
    study = failed_study
    before = (study.directory / "journal.jsonl").read_bytes()
    assert [trial.trial_id for trial in retry_failed_trials(study)] == ["t0001", "t0002"]
    assert (study.directory / "journal.jsonl").read_bytes().startswith(before)
    assert [t.state for t in study.trials.values()] == ["completed", "running", "running", "running"]
    assert [(t.params, t.epochs, t.error) for t in study.trials.values()][1] == ({"x": 2}, 0, "")
    assert sorted(path.name for path in (study.directory / "errors").iterdir()) == [
        "t0001-attempt-1.hang.txt", "t0001-attempt-1.txt", "t0002-attempt-1.txt",
    ]  # fmt: skip
    assert describe_retries(study) == "retry   2 failed trials run again: t0001, t0002"
    study.close()
    assert load_study(study.directory).history["trial_id"].tolist() == ["t0000", "t0000", "t0003"]


def test_the_latest_attempt_counts_once_after_reopening_and_no_check_complains(failed_study):
    study = failed_study
    for error in ("ValueError: no", "ValueError: no"):
        retry_failed_trials(study)
        run_epochs(study, "t0001", [0.9])  # the very epoch and the very end of the attempt before
        study.end_trial("t0001", "failed", error)
        study.end_trial("t0002", "failed", "CUDA out of memory")
    retry_failed_trials(study)
    run_epochs(study, "t0001", [0.7, 0.8])
    study.end_trial("t0001", "completed")
    expected = {t.trial_id: (t.state, t.attempt, t.created, t.history) for t in study.trials.values()}
    order, rows = [t.trial_id for t in study.ended_in_order], study.reported_epochs
    study.close()
    lines: list[str] = []
    assert check_study(study.directory, False, lines.append) == (0, 0), lines
    again = Study.open(study.directory)
    assert {t.trial_id: (t.state, t.attempt, t.created, t.history) for t in again.trials.values()} == expected
    assert again.trials["t0001"].attempt == 4
    assert [t.trial_id for t in again.ended_in_order] == order == ["t0000", "t0001"]
    assert again.reported_epochs == rows
    assert [trial_id for trial_id, _ in rows] == ["t0000", "t0000", "t0003", "t0001", "t0001"]
    assert again.best().trial_id == "t0001"
    again.close()


def test_a_retry_that_the_journal_has_twice_counts_once(failed_study):
    study = failed_study
    retry_failed_trials(study)
    study.close()
    journal = study.directory / "journal.jsonl"
    lines = journal.read_text().splitlines()
    journal.write_text("".join(f"{line}\n" for line in [*lines, lines[-1]]))
    assert Journal.read(study.directory).trials["t0002"].attempt == 2


@pytest.mark.parametrize(
    "event",
    [
        {"event": "retry", "trial_id": "t0000", "attempt": 2, "created": "2026-01-01T00:00:00+00:00"},
        {"event": "retry", "trial_id": "t0001", "attempt": 5, "created": "2026-01-01T00:00:00+00:00"},
        {"event": "retry", "trial_id": "t0001", "attempt": True, "created": "2026-01-01T00:00:00+00:00"},
        {"event": "retry", "trial_id": "t0009", "attempt": 2, "created": "2026-01-01T00:00:00+00:00"},
    ],
    ids=str,
)
def test_a_retry_that_does_not_fit_is_damage(failed_study, event):
    failed_study.close()
    with (failed_study.directory / "journal.jsonl").open("a") as file:
        file.write(json.dumps(event) + "\n")
    lines: list[str] = []
    check_study(failed_study.directory, False, lines.append)
    assert any("does not fit the lines before it" in line for line in lines)


def test_sampler_and_rungs_forget_the_failed_attempt(failed_study):
    study = failed_study
    options = SearcherOptions(rungs=Rungs(grace=1, factor=3, max_epochs=9), keep_checkpoints=2)
    learned = BudgetAwareOptunaSearch(study, SPACE, options).optuna_study.trials
    assert [t.state.name for t in learned] == ["COMPLETE", "FAIL", "COMPLETE", "RUNNING"]
    retry_failed_trials(study)
    search = BudgetAwareOptunaSearch(study, SPACE, options)
    assert [t.state.name for t in search.optuna_study.trials] == ["COMPLETE", "RUNNING", "RUNNING", "RUNNING"]
    assert search.optuna_study.trials[2].value is None
    suggested = [search.suggest(search.next_trial_id()) for _ in range(3)]
    assert [(s["trial_id"], s["x"], s["known_epochs"]) for s in suggested] == [
        ("t0001", 2, 0), ("t0002", 3, 0), ("t0003", 4, 1),
    ]  # fmt: skip
    # At the first rung, 0.9 of the failed attempt would have stopped a trial of 0.4.
    without = StudyASHA(**ASHA)
    without.replay([pair for pair in study.reported_epochs if pair[0] != "t0001"])
    asha = asha_for(study, **ASHA)
    for scheduler in (asha, without):
        scheduler.replay([("t0009", {"epoch": 1, "best_val_acc": 0.55})])
    assert asha.stopped_early == without.stopped_early
    assert "t0009" not in asha.stopped_early


def test_a_study_without_failures_says_so(study):
    add(study, 1, [0.5], "completed")
    assert retry_failed_trials(study) == []
    assert describe_retries(study) == f"retry   no trial in {study.directory} has failed, so none runs again"


def test_it_needs_a_study_to_resume():
    with pytest.raises(ConfigError, match="--retry-failed needs --resume with the study whose failed trials"):
        parse_search(SearchConfig, "", ["--retry-failed"])


def fragile(params):
    """Fails until the file ``mended`` exists, with some configurations after their first epoch."""
    broken = int(params["trial_id"][1:]) % 3 == 0 and not (Path(params["study_dir"]) / "mended").exists()
    for epoch in range(1, 4):
        if broken and (epoch == 2 or params["trial_id"] == "t0000"):
            raise ValueError("the cause")
        tune.report({"epoch": epoch, "best_val_acc": 0.1 * epoch, "seconds": 0.0, "attempted": 1})


@pytest.mark.slow
@pytest.mark.long
def test_a_resumed_search_runs_the_failed_trials_again(tmp_path):
    settings = {"data": "digits", "num_samples": 6, "max_epochs": 3, "storage_path": tmp_path, "name": "study",
                "max_failures": 0, "max_concurrent": 1, "patience": 9}  # fmt: skip
    config = SearchConfig(**settings)
    study, space = search.open_study(config)
    search.run(config, study, space, fragile)
    study.close()
    before = {i: (t.params, t.state) for i, t in study.trials.items()}
    assert [i for i, (_, state) in before.items() if state == "failed"] == ["t0000", "t0003"]
    (study.directory / "mended").touch()
    again = SearchConfig(**settings, resume=study.directory, retry_failed=True)
    study, space = search.open_study(again)
    assert describe_retries(study) == "retry   2 failed trials run again: t0000, t0003"
    search.run(again, study, space, fragile)
    study.close()
    table = load_study(study.directory).trials.set_index("trial_id")
    assert len(table) == 6
    assert "failed" not in set(table["state"])
    assert {i: t.params for i, t in study.trials.items()} == {i: params for i, (params, _) in before.items()}
    assert json.loads((study.directory / "study.json").read_text())["config"]["retry_failed"] is False
    mirrored = optuna.load_study(study_name=None, storage=f"sqlite:///{study.directory}/study.db").trials
    assert sorted(t.user_attrs["trial_id"] for t in mirrored) == sorted(table.index)
    assert {t.user_attrs["state"] for t in mirrored} == set(table["state"])
    lines: list[str] = []
    assert check_study(study.directory, False, lines.append) == (0, 0), lines
    assert sorted(path.name for path in (study.directory / "errors").glob("*.txt")) == [
        "t0000-attempt-1.txt", "t0003-attempt-1.txt",
    ]  # fmt: skip
