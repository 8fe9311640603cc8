import pytest

from inat.cluster import status
from inat.cluster.status import NodeState
from inat.config.search import SearchConfig
from inat.constants import COMPLETED, FAILED
from inat.errors import SearchError
from inat.study.study import Study

PARAMS = {"learning_rate": 0.01, "dropout": 0.2}
UP = NodeState("one", "10.0.0.1", True, 2, 1, 1, 0.5)


@pytest.fixture
def study(tmp_path):
    """A search of five trials: one completed, one failed and two running."""
    config = SearchConfig(data="digits", num_samples=5, gpus_per_trial=0.5).to_json()
    opened = Study.create(tmp_path / "results" / "study", {"config": config})
    for number in range(4):
        opened.add_trial(PARAMS | {"dropout": number / 10})
    opened.add_epoch("t0000", {"epoch": 9, "best_val_acc": 0.75}, node="one")
    opened.end_trial("t0000", COMPLETED)
    opened.end_trial("t0001", FAILED, "out of luck")
    opened.add_epoch("t0002", {"epoch": 3, "best_val_acc": 0.5}, node="one")
    yield opened
    opened.close()


def test_nodes_slots_trials_and_the_best_trial_are_shown(study, run, monkeypatch):
    monkeypatch.setattr(status, "node_states", lambda: [UP, NodeState("two", "10.0.0.2", False)])
    code, text = run("status", "--storage-path", study.directory.parent)
    assert code == 0
    rows = [[cell.strip() for cell in line.strip("│").split("│")] for line in text.splitlines() if "│" in line]
    assert ["one", "10.0.0.1", "up", "1 of 2", "0.5 of 1", "t0002 epoch 3, 0.5000"] in rows
    assert ["two", "10.0.0.2", "down", "-", "-", ""] in rows
    assert ["starting", "", "", "", "", "t0003"] in rows
    assert "slots   2 busy of 2 at a time, each with 1 CPU and 0.5 GPU" in text
    assert "trials  2 of 5 ended: 2 running, 1 completed, 0 stopped, 1 failed" in text
    assert "failed  t0001 last: out of luck" in text
    assert "best    t0000 0.7500 in 9 epochs: learning_rate 0.01, dropout 0.0" in text


def test_a_trial_whose_node_has_left_is_shown_once_as_waiting(study, run, monkeypatch):
    study.add_epoch("t0003", {"epoch": 2, "best_val_acc": 0.25}, node="two")
    monkeypatch.setattr(status, "node_states", lambda: [UP, NodeState("two", "10.0.0.2", False)])
    _, text = run("status", study.directory)
    rows = [[cell.strip() for cell in line.strip("│").split("│")] for line in text.splitlines() if "│" in line]
    trial = "t0003 epoch 2, 0.2500"
    assert [row for row in rows if trial in row] == [["waiting", "", "", "", "", trial]]
    assert "slots   1 busy of 2 at a time, each with 1 CPU and 0.5 GPU; 1 waiting" in text


def test_a_search_without_a_running_process_is_reported(study, run, monkeypatch):
    study.close()
    monkeypatch.setattr(status, "node_states", lambda: [UP])
    _, text = run("status", study.directory)
    assert "no process is running it: continue with --resume" in text
    assert "slots   0 busy of" in text
    assert "starting" not in text


def test_without_a_cluster_the_study_is_still_shown(study, run, monkeypatch, capsys):
    printed_before = []

    def fail():
        printed_before.append(capsys.readouterr().out)  # a cluster that hangs must not delay the study
        raise SearchError("no Ray cluster answers")

    monkeypatch.setattr(status, "node_states", fail)
    code, text = run("status", study.directory)
    assert code == 1
    assert "best    t0000 0.7500" in printed_before[0]
    assert "error: no Ray cluster answers" in text


def test_an_incomplete_last_line_of_the_journal_is_ignored(study, run, monkeypatch):
    monkeypatch.setattr(status, "node_states", lambda: [UP])
    with (study.directory / "journal.jsonl").open("a") as journal:
        journal.write('{"event": "epo')
    assert run("status", study.directory)[0] == 0


def test_trials_that_fit_on_no_node_are_reported(study, run, monkeypatch):
    monkeypatch.setattr(status, "node_states", lambda: [NodeState("one", "10.0.0.1", True, 2, 0, 0, 0)])
    assert "slots   none: a trial needs 1 CPU and 0.5 GPU" in run("status", study.directory)[1]


def test_the_newest_study_is_the_default(study, tmp_path, run, monkeypatch):
    monkeypatch.setattr(status, "node_states", lambda: [UP])
    other = Study.create(tmp_path / "results" / "other", {"config": SearchConfig(data="digits").to_json()})
    other.add_trial(PARAMS)
    other.close()
    assert f"study   {other.directory}" in run("status", "--storage-path", other.directory.parent)[1]


def test_a_missing_study_is_reported_in_one_sentence(tmp_path, run):
    code, text = run("status", "--storage-path", tmp_path)
    assert (code, text) == (2, f"error: no study in {tmp_path}; name its directory, or pass --storage-path\n")
    assert "no study in" in run("status", tmp_path)[1]


def test_a_study_without_a_journal_yet_has_no_trials(tmp_path, run, monkeypatch):
    monkeypatch.setattr(status, "node_states", lambda: [UP])
    new = Study.create(tmp_path / "study", {"config": SearchConfig(data="digits").to_json()})
    new.close()
    for name in ("journal.jsonl", "trials.csv"):
        (new.directory / name).unlink(missing_ok=True)
    code, text = run("status", new.directory)
    assert (code, "best    no trial has ended yet" in text) == (0, True)


def test_a_study_that_lost_its_journal_is_reported(study, run):
    (study.directory / "journal.jsonl").unlink()
    code, text = run("status", study.directory)
    assert (code, text) == (2, f"error: {study.directory} has no journal.jsonl; copy the whole study again\n")
