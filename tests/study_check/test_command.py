"""`inat study check` on studies that are damaged in every way it knows."""

import json
import sys
from pathlib import Path

import pytest
import torch

from inat.cli import run_command
from inat.constants import BEST_CKPT, LAST_CKPT
from inat.errors import StudyError
from inat.study.__main__ import StudyCommand, run
from inat.study.journal import Journal
from inat.study.study import Study
from inat.study_check.command import check_study, describe_state
from inat.tuning.best import write_best
from tests.helpers import run_epochs


def save_best(path: Path, params: dict, epoch: int, best: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"trial_params": params, "row": {"epoch": epoch, "best_val_acc": best}}, path)


def save_last(path: Path, params: dict, rows: list[dict]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    state = {"epoch": len(rows), "history": rows, "unreported": [], "identity": params}
    torch.save({"callbacks": {"EpochRecorder": state}}, path)


@pytest.fixture
def directory(study: Study) -> Path:
    """Two ended trials with weights and a running one; best.json and best.ckpt are of t0001."""
    for number, best in enumerate((0.5, 0.7)):
        trial = study.add_trial({"x": number})
        run_epochs(study, trial.trial_id, [best - 0.1, best])
        study.end_trial(trial.trial_id, "completed")
        save_best(study.checkpoint_dir(trial.trial_id) / BEST_CKPT, {"x": number}, 2, best)
    running = study.add_trial({"x": 2})
    run_epochs(study, running.trial_id, [0.1, 0.2])
    save_last(study.checkpoint_dir(running.trial_id) / LAST_CKPT, {"x": 2}, running.history)
    write_best(study)
    study.close()
    return study.directory


def problems(directory: Path, repair: bool = False) -> list[str]:
    lines: list[str] = []
    check_study(directory, repair, lines.append)
    return lines


def damage_journal(directory: Path, change) -> None:
    path = directory / "journal.jsonl"
    path.write_bytes(b"".join(change(path.read_bytes().splitlines(keepends=True))))


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:200])


DAMAGES = {
    "NULs in the journal": (
        lambda d: damage_journal(d, lambda lines: [*lines[:3], bytes(50) + b"\n", *lines[4:]]),
        "journal.jsonl line 4 is no event",
    ),
    "half a line": (
        lambda d: damage_journal(d, lambda lines: [*lines, b'{"event": ']),
        "journal.jsonl line 12 is half-written",
    ),
    "a line twice": (
        lambda d: damage_journal(d, lambda lines: [*lines[:4], lines[3], *lines[4:]]),
        "journal.jsonl line 5 repeats an earlier line",
    ),
    "a missing epoch": (
        lambda d: damage_journal(d, lambda lines: [*lines[:1], *lines[2:]]),
        "journal.jsonl: trial t0000 has no epoch 1, but epoch 2",
    ),
    "a missing trial": (
        lambda d: damage_journal(d, lambda lines: [*lines[:8], *lines[9:]]),
        "journal.jsonl lacks the line of trial t0002",
    ),
    "an old table": (lambda d: (d / "trials.csv").write_text("trial_id\n"), "trials.csv differs from the journal"),
    "no table": (lambda d: (d / "history.csv").unlink(), "history.csv is missing"),
    "an unfinished file": (lambda d: (d / ".best.ckpt").write_text("half"), ".best.ckpt was never finished"),
    "an unfinished checkpoint": (
        lambda d: (d / "checkpoints" / "t0000" / ".last.ckpt0a").write_text("half"),
        "checkpoints/t0000/.last.ckpt0a was never finished",
    ),
    "a lost trial's folder": (
        lambda d: save_last(d / "checkpoints" / "t0003" / LAST_CKPT, {"x": 9}, []),
        "checkpoints/t0003 belongs to no trial in the journal",
    ),
    "a torn last.ckpt": (
        lambda d: truncate(d / "checkpoints" / "t0002" / LAST_CKPT),
        "checkpoints/t0002/last.ckpt cannot be read",
    ),
    "another configuration's last.ckpt": (
        lambda d: save_last(d / "checkpoints" / "t0002" / LAST_CKPT, {"x": 7}, []),
        "checkpoints/t0002/last.ckpt was written by another configuration (x)",
    ),
    "another accuracy's best.ckpt": (
        lambda d: save_best(d / "checkpoints" / "t0000" / BEST_CKPT, {"x": 0}, 2, 0.9),
        "checkpoints/t0000/best.ckpt has a validation accuracy of 0.9, its trial of 0.5",
    ),
    "a torn best.ckpt": (lambda d: truncate(d / BEST_CKPT), "best.ckpt is damaged, or another file"),
    "another best.ckpt": (
        lambda d: save_best(d / BEST_CKPT, {"x": 5}, 1, 0.1),
        "best.ckpt is damaged, or another file",
    ),
    "a torn best.json": (lambda d: (d / "best.json").write_text("{"), "best.json is damaged"),
    "a list in best.json": (lambda d: (d / "best.json").write_text("[]"), "best.json is damaged"),
    "an old best.json": (
        lambda d: (d / "best.json").write_text(json.dumps({"trial_id": "t0000", "best_val_acc": 0.5})),
        "best.json is about trial t0000, the best trial is t0001",
    ),
}  # fmt: skip


def test_an_intact_study_has_no_problems(directory):
    before = {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}
    assert check_study(directory, False, print) == (0, 0)
    assert {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()} == before
    assert describe_state(directory) == ["3 trials, 2 of them ended"]


def test_a_history_with_the_columns_of_an_earlier_version_is_no_problem(directory):
    path = directory / "history.csv"
    rows = [line.split(",") for line in path.read_text().splitlines()]
    path.write_text("".join(",".join(row[:7]) + "\n" for row in rows))
    assert check_study(directory, False, print) == (0, 0)


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damage_is_named_without_a_change_and_mended_with_repair(directory, name):
    damage, message = DAMAGES[name]
    damage(directory)
    before = {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}
    assert any(line.startswith(message) for line in problems(directory)), problems(directory)
    assert {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()} == before
    found, left = check_study(directory, True, print)
    assert found > 0
    assert left == 0
    assert problems(directory) == []
    study = Study.open(directory)
    study.close()
    for trial in study.trials.values():
        assert [row["epoch"] for row in trial.history] == list(range(1, trial.epochs + 1))


def test_what_a_repair_removes_is_kept(directory):
    journal = directory / "journal.jsonl"
    damage_journal(directory, lambda lines: [*lines[:2], b"nothing\n", *lines[2:]])
    damaged = journal.read_bytes()
    truncate(directory / "checkpoints" / "t0002" / LAST_CKPT)
    problems(directory, repair=True)
    (kept,) = directory.glob("removed-*")
    assert (kept / "journal.jsonl").read_bytes() == damaged
    assert (kept / "checkpoints" / "t0002" / LAST_CKPT).stat().st_size == 200
    assert len(Journal.read(directory).trials) == 3


def test_a_trial_with_a_gap_runs_again_from_before_the_gap(directory):
    damage_journal(directory, lambda lines: [*lines[:1], *lines[2:]])
    problems(directory, repair=True)
    trial = Journal.read(directory).trials["t0000"]
    assert (trial.state, trial.history) == ("running", [])


def test_the_only_damaged_copy_of_the_weights_is_a_problem_for_the_user(directory):
    truncate(directory / BEST_CKPT)
    truncate(directory / "checkpoints" / "t0001" / BEST_CKPT)
    assert check_study(directory, True, print)[1] == 0  # the next best trial takes its place
    assert json.loads((directory / "best.json").read_text())["trial_id"] == "t0000"


def test_epochs_that_a_checkpoint_has_and_the_journal_lost_are_no_problem(directory):
    damage_journal(directory, lambda lines: lines[:-1])
    Study.open(directory).close()
    assert problems(directory) == []
    assert describe_state(directory)[1] == "t0002 has a checkpoint 1 epoch ahead of the journal; --resume adds it"


def test_an_edited_study_json_cannot_be_mended(directory):
    path = directory / "study.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"seed": 3}))
    lines = problems(directory, repair=True)
    assert "was edited: seed differ" in lines[0]
    assert lines[1:] == ["    cannot be mended here"]


def test_an_empty_journal_beside_a_table_with_trials_cannot_be_mended(directory):
    (directory / "journal.jsonl").write_text("")
    assert "is empty, but trials.csv has 3 rows" in problems(directory, repair=True)[0]


def test_a_damaged_database_is_named(directory):
    (directory / "study.db").write_text("no database")
    assert problems(directory) == ["study.db cannot be read (file is not a database)"]


def test_a_running_study_is_not_repaired(study):
    with pytest.raises(StudyError, match="is being run by another process; repair it when"):
        check_study(study.directory, True, print)
    assert check_study(study.directory, False, print) == (0, 0)


def test_the_command_ends_with_1_if_something_is_wrong(directory, monkeypatch, capsys):
    truncate(directory / BEST_CKPT)
    monkeypatch.setattr(sys, "argv", ["inat.study", "check", str(directory)])
    with pytest.raises(SystemExit) as ended:
        run_command(StudyCommand, run)
    printed = capsys.readouterr()
    assert (ended.value.code, printed.err) == (1, "")
    assert printed.out.splitlines()[-1] == f"1 problem; mend with: inat study check {directory} --repair"
    sys.argv.append("--repair")
    run_command(StudyCommand, run)
    assert capsys.readouterr().out.splitlines()[-1] == "all problems are mended"


def test_a_file_that_leads_out_of_the_study_is_refused_before_anything_is_read(directory, tmp_path):
    (tmp_path / "secret").write_text("content")
    (directory / "journal.jsonl").unlink()
    (directory / "journal.jsonl").symlink_to(tmp_path / "secret")
    for repair in (False, True):
        with pytest.raises(StudyError, match=r"journal.jsonl is a link to .*secret, outside of the study"):
            check_study(directory, repair, print)
    assert (tmp_path / "secret").read_text() == "content"
