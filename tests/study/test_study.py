import csv
import fcntl
import json
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inat.constants import LOCK_FILE
from inat.errors import DiskFullError, StudyError
from inat.study.journal import Journal
from inat.study.metadata import is_running, read_info
from inat.study.study import Study


def new_study(tmp_path: Path) -> Study:
    return Study.create(tmp_path / "study", {"config": {}, "seed": 0})


def row(epoch: int, best: float, **more) -> dict:
    return {"epoch": epoch, "best_val_acc": best, "val_acc": best, "seconds": 1.5} | more


def read_csv(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_the_tables_grow_with_the_search(tmp_path):
    study = new_study(tmp_path)
    first = study.add_trial({"lr": 0.1, "bn": True})
    study.add_epoch(first.trial_id, row(1, 0.3), node="a")
    study.add_epoch(first.trial_id, row(2, 0.5), node="a")
    assert [r["epoch"] for r in read_csv(study.directory / "history.csv")] == ["1", "2"]
    study.end_trial(first.trial_id, "completed")
    study.add_trial({"lr": 0.2, "bn": False})
    study.write_trials()
    done, running = read_csv(study.directory / "trials.csv")
    assert list(done) == ["trial_id", "name", "state", "lr", "bn", "best_val_acc", "trainable_parameters", "epochs",
                          "seconds", "created", "node", "error"]  # fmt: skip
    assert (done["state"], done["best_val_acc"], done["epochs"], done["seconds"]) == ("completed", "0.5", "2", "3.0")
    assert (done["node"], done["name"]) == ("a", "lr=0.1-bn=True")
    assert (running["state"], running["best_val_acc"], running["epochs"]) == ("running", "", "0")


def test_a_reopened_study_is_the_same(tmp_path):
    study = new_study(tmp_path)
    for i in range(4):
        trial = study.add_trial({"x": i})
        study.add_epoch(trial.trial_id, row(1, i / 10))
    study.end_trial("t0000", "stopped")
    study.end_trial("t0001", "failed", 'out of memory, "quoted",\nsecond line')
    study.close()
    again = Study.open(study.directory)
    assert again.trials == study.trials
    assert again.reported_epochs == study.reported_epochs
    assert [t.trial_id for t in again.unfinished()] == ["t0002", "t0003"]
    assert again.add_trial({"x": 9}).trial_id == "t0004"


@settings(max_examples=40, deadline=None)
@given(cut=st.integers(0, 2000))
def test_a_journal_cut_anywhere_can_be_continued(tmp_path_factory, cut):
    study = new_study(tmp_path_factory.mktemp("cut"))
    for i in range(3):
        trial = study.add_trial({"x": i})
        for epoch in (1, 2):
            study.add_epoch(trial.trial_id, row(epoch, 0.1))
        study.end_trial(trial.trial_id, "completed")
    study.close()
    journal = study.directory / "journal.jsonl"
    whole = journal.read_bytes()
    journal.write_bytes(whole[:cut])
    if b"\n" not in whole[:cut]:
        with pytest.raises(StudyError, match=r"journal.jsonl is empty, but trials.csv has 3 rows; restore the journal"):
            Study.open(study.directory)
        return
    again = Study.open(study.directory)
    assert len(again.trials) == whole[:cut].count(b'"event": "trial"') - (
        1 if whole[:cut].rpartition(b"\n")[2].count(b'"event": "trial"') else 0
    )
    for known in again.trials.values():
        assert [r["epoch"] for r in known.history] == list(range(1, known.epochs + 1))
    fresh = again.add_trial({"x": 9})
    again.close()
    assert Study.open(study.directory).trials[fresh.trial_id].params == {"x": 9}


def test_a_trial_that_goes_back_to_a_checkpoint_replaces_its_later_epochs(tmp_path):
    study = new_study(tmp_path)
    trial = study.add_trial({"x": 1})
    for epoch, best in [(1, 0.1), (2, 0.2), (3, 0.3), (2, 0.25), (3, 0.35), (4, 0.4)]:
        study.add_epoch(trial.trial_id, row(epoch, best))
    assert [(r["epoch"], r["best_val_acc"]) for r in trial.history] == [(1, 0.1), (2, 0.25), (3, 0.35), (4, 0.4)]
    assert [r["epoch"] for r in read_csv(study.directory / "history.csv")] == ["1", "2", "3", "4"]
    study.close()
    assert Study.open(study.directory).trials[trial.trial_id].history == trial.history


def test_the_ranking_leaves_out_failed_and_running_trials_and_prefers_the_earlier_of_equal_ones(tmp_path):
    study = new_study(tmp_path)
    for best, state in [(0.5, "completed"), (0.9, "failed"), (0.7, "stopped"), (0.7, "completed"), (0.95, None)]:
        trial = study.add_trial({"x": best})
        study.add_epoch(trial.trial_id, row(1, best))
        if state:
            study.end_trial(trial.trial_id, state)
    assert [t.trial_id for t in study.ranking()] == ["t0002", "t0003", "t0000"]
    assert study.best().trial_id == "t0002"


def test_a_command_in_a_message_can_be_pasted(tmp_path):
    Study.create(tmp_path / "my first study", {"config": {}}).close()
    with pytest.raises(StudyError, match=r"--resume '.*/my first study' or choose"):
        Study.create(tmp_path / "my first study", {"config": {}})


def test_an_existing_directory_is_refused_with_two_hints(tmp_path):
    study = new_study(tmp_path)
    study.close()
    with pytest.raises(StudyError, match=r"study exists already; continue it with --resume .*study or choose another"):
        new_study(tmp_path)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("x")
    with pytest.raises(StudyError, match="exists already; empty it or choose another --name"):
        Study.create(tmp_path / "other", {})


@pytest.mark.parametrize("name", ["file", "x" * 300])
def test_a_directory_that_cannot_be_created_is_named(tmp_path, name):
    (tmp_path / "file").write_text("x")
    with pytest.raises(StudyError, match="cannot create .* choose another"):
        Study.create(tmp_path / name, {})


def test_trials_csv_has_each_final_state_at_once(tmp_path):
    study = new_study(tmp_path)
    for i in range(3):
        trial = study.add_trial({"x": i})
        study.add_epoch(trial.trial_id, row(1, 0.1))
        study.end_trial(trial.trial_id, "completed")
        assert [r["state"] for r in read_csv(study.directory / "trials.csv")] == ["completed"] * (i + 1)


def test_a_reader_never_sees_a_half_written_history(tmp_path):
    study = new_study(tmp_path)
    trial = study.add_trial({"x": 1})
    for epoch in range(1, 50):
        study.add_epoch(trial.trial_id, row(epoch, 0.1))
    done, seen = threading.Event(), set()

    def read() -> None:
        while not done.is_set():
            seen.add(len(read_csv(study.directory / "history.csv")))

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(50):
        study.add_epoch(trial.trial_id, row(49, 0.2))  # a repeated epoch rewrites the table
    done.set()
    reader.join()
    assert seen == {49}


def test_a_resume_records_the_changed_configuration(tmp_path):
    study = new_study(tmp_path)
    study.update_config({"num_samples": 60})
    study.close()
    assert read_info(study.directory)["config"] == {"num_samples": 60}


def test_only_one_process_can_open_a_study(tmp_path):
    study = new_study(tmp_path)
    with pytest.raises(StudyError, match="being run by another process"):
        Study.open(study.directory)
    study.close()
    Study.open(study.directory).close()


def test_is_running_writes_nothing(tmp_path):
    study = new_study(tmp_path)
    lock = study.directory / LOCK_FILE
    assert is_running(study.directory)
    study.close()
    assert not is_running(study.directory)
    lock.unlink(missing_ok=True)
    assert not is_running(study.directory)
    assert not lock.exists()


def test_is_running_of_another_process_does_not_prevent_opening_a_study(tmp_path):
    study = new_study(tmp_path)
    study.close()
    with (study.directory / LOCK_FILE).open("a") as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)
        timer = threading.Timer(0.2, fcntl.flock, (looking, fcntl.LOCK_UN))
        timer.start()
        Study.open(study.directory).close()
        timer.join()


def test_a_lock_that_cannot_be_read_is_an_error(tmp_path):
    study = new_study(tmp_path)
    study.close()
    (study.directory / LOCK_FILE).unlink(missing_ok=True)
    (study.directory / LOCK_FILE).mkdir()  # cannot be read either; root could read a file without permissions
    with pytest.raises(StudyError, match=r"cannot be read \(Is a directory\)"):
        is_running(study.directory)


def test_the_message_for_a_missing_study_lists_the_existing_ones(tmp_path):
    new_study(tmp_path).close()
    with pytest.raises(StudyError, match=r"no study in .*other .*there are: .*study"):
        Study.open(tmp_path / "other")


def test_damaged_files_are_named(tmp_path):
    study = new_study(tmp_path)
    study.add_trial({"x": 1})
    study.close()
    journal = study.directory / "journal.jsonl"
    journal.write_text("{broken\n" + journal.read_text())
    with pytest.raises(StudyError, match=r"journal.jsonl is damaged at line 1"):
        Study.open(study.directory)
    for content, message in [(b"{", "cannot be read"), (b"\xff\xfe", "cannot be read"), (b"{}", "no configuration"),
                             (b"[]", "no configuration")]:  # fmt: skip
        (study.directory / "study.json").write_bytes(content)
        with pytest.raises(StudyError, match=rf"study.json .*{message}"):
            read_info(study.directory)


@pytest.mark.parametrize("line", [b"3", b"null", b"\xff\xfe", b'{"event": "epoch"}', b"[1]"])
def test_a_line_that_is_not_an_event_is_named(tmp_path, line):
    study = new_study(tmp_path)
    study.add_trial({"lr": 0.1})
    study.close()
    with (study.directory / "journal.jsonl").open("ab") as file:
        file.write(line + b"\n")
    with pytest.raises(StudyError, match="is damaged.* line 2"):
        Study.open(study.directory)


def journal_of_two_trials(tmp_path: Path) -> Path:
    study = new_study(tmp_path)
    for best in (0.5, 0.7):
        trial = study.add_trial({"x": best})
        for epoch in (1, 2, 3):
            study.add_epoch(trial.trial_id, row(epoch, best), node="a")
        study.end_trial(trial.trial_id, "completed")
    study.close()
    return study.directory / "journal.jsonl"


@pytest.mark.parametrize("number", range(10))
def test_a_line_that_the_journal_has_twice_counts_once(tmp_path, number):
    journal = journal_of_two_trials(tmp_path)
    before = Journal.read(journal.parent)
    lines = journal.read_text().splitlines(keepends=True)
    journal.write_text("".join([*lines, lines[number]]))
    after = Journal.read(journal.parent)
    assert after.trials == before.trials
    assert after.ended_in_order == before.ended_in_order
    assert after.ranking() == before.ranking()
    assert after.reported_epochs == before.reported_epochs


@pytest.mark.parametrize(
    "event",
    [
        {"event": "trial", "trial_id": "t0000", "number": 0, "params": {"x": 9}, "created": ""},
        {"event": "trial", "trial_id": "t0007", "number": 7, "params": {"x": 9}, "created": ""},
        {"event": "end", "trial_id": "t0000", "state": "failed", "error": ""},
        {"event": "end", "trial_id": "t0001", "state": "finished", "error": ""},
        {"event": "epoch", "trial_id": "t0000", "node": "", "row": {"epoch": "4", "best_val_acc": 0.5}},
        {"event": "epoch", "trial_id": "t0000", "node": "", "row": {"epoch": 4, "best_val_acc": None}},
        {"event": "epoch", "trial_id": "t0000", "node": "", "row": [4, 0.5]},
        {"event": "pause", "trial_id": "t0000"},
    ],
)
def test_an_event_that_contradicts_the_others_is_named_with_its_line_and_the_cure(tmp_path, event):
    journal = journal_of_two_trials(tmp_path)
    with journal.open("a") as file:
        file.write(json.dumps(event) + "\n")
    with pytest.raises(StudyError, match=rf"line 11 does not fit; .* inat study check {journal.parent} --repair"):
        Study.open(journal.parent)


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.floats()
    | st.sampled_from(["", "t0000", "trial", "epoch", "end"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["epoch", "best_val_acc", "x"]), inner),
    max_leaves=5,
)
EVENTS = st.fixed_dictionaries(
    {"event": JSON_VALUES, "trial_id": JSON_VALUES},
    optional=dict.fromkeys(("number", "params", "created", "row", "node", "state", "error"), JSON_VALUES),
)


@settings(max_examples=60, deadline=None)
@given(event=EVENTS)
def test_an_event_of_any_content_is_read_or_refused_with_a_sentence(tmp_path_factory, event):
    journal = journal_of_two_trials(tmp_path_factory.mktemp("events"))
    with journal.open("a") as file:
        file.write(json.dumps(event) + "\n")
    message = "line 11 does not fit"
    try:
        Study.open(journal.parent).close()
    except StudyError as error:
        message = str(error)
    assert "line 11 does not fit" in message


@pytest.mark.parametrize("tail", [b"\0" * 4096, b'{"event": "ep', b'{"event": "ep' + b"\0" * 4096])
def test_what_a_power_cut_leaves_at_the_end_of_a_journal_is_left_out(tmp_path, tail):
    journal = journal_of_two_trials(tmp_path)
    whole = journal.read_bytes()
    journal.write_bytes(whole + tail)
    study = Study.open(journal.parent)
    study.close()
    assert len(study.ended()) == 2
    assert journal.read_bytes() == whole


def test_a_journal_with_a_hole_is_damaged_at_its_line(tmp_path):
    journal = journal_of_two_trials(tmp_path)
    content = bytearray(journal.read_bytes())
    content[200:300] = bytes(100)
    journal.write_bytes(content)
    with pytest.raises(
        StudyError, match=r"journal.jsonl is damaged at line \d; restore it from a copy, or mend the study"
    ):
        Study.open(journal.parent)


def test_a_row_that_the_study_has_is_not_written_again(tmp_path):
    study = new_study(tmp_path)
    trial = study.add_trial({"x": 1})
    assert [study.add_epoch(trial.trial_id, row(epoch, 0.1)) for epoch in (1, 2, 1, 2, 3)] == [
        True, True, False, False, True,
    ]  # fmt: skip
    study.close()
    assert (study.directory / "journal.jsonl").read_text().count('"epoch"') == 2 * 3
    assert [r["epoch"] for r in trial.history] == [1, 2, 3]


def test_an_edit_of_what_the_trials_measure_is_refused_with_its_field(tmp_path):
    info = {
        "config": {"max_epochs": 9, "num_samples": 4}, "seed": 0, "space": {"lr": [1, 2]},
        "data": {"source": "a", "fingerprint": "f", "classes": ["x"]},
    }  # fmt: skip
    study = Study.create(tmp_path / "study", info)
    study.close()
    path = study.directory / "study.json"
    written = json.loads(path.read_text())
    edits = {
        "seed": {"seed": 1}, "space": {"space": {"lr": [1, 3]}}, "config.max_epochs": {"config": {"max_epochs": 8}},
        "data.fingerprint": {"data": info["data"] | {"fingerprint": "g"}}, "grid": {"grid": []},
        "digests": {"digests": 3},
    }  # fmt: skip
    for field, edit in edits.items():
        path.write_text(json.dumps(written | edit))
        with pytest.raises(StudyError, match=rf"study.json was edited: {field} differ"):
            Study.open(study.directory)
    path.write_text(json.dumps(written | {"config": {"max_epochs": 9, "num_samples": 8}, "commit": "x"}))
    Study.open(study.directory).close()


def test_a_study_of_an_earlier_version_has_no_digests_and_opens(tmp_path):
    study = new_study(tmp_path)
    study.close()
    path = study.directory / "study.json"
    path.write_text(json.dumps({"config": {}, "seed": 3}))
    again = Study.open(study.directory)
    again.update_config({"max_epochs": 2})
    again.close()
    assert read_info(study.directory)["digests"].keys() == {"seed", "config.max_epochs"}


@pytest.mark.parametrize(
    "edit", [{"seed": "0"}, {"space": []}, {"data": []}, {"data": {"classes": "ab"}}, {"grid": {}}]
)
def test_a_value_of_another_type_in_study_json_is_named(tmp_path, edit):
    study = new_study(tmp_path)
    study.close()
    (study.directory / "study.json").write_text(json.dumps({"config": {}} | edit))
    with pytest.raises(StudyError, match=rf"study.json: {next(iter(edit))}.* is .*, which no search writes; restore"):
        Study.open(study.directory)


def test_a_study_without_its_journal_is_refused_and_not_changed(tmp_path):
    study = new_study(tmp_path)
    study.add_trial({"lr": 0.1})
    study.close()
    (study.directory / "journal.jsonl").unlink()
    before = (study.directory / "trials.csv").read_text()
    with pytest.raises(StudyError, match=r"has no journal.jsonl, .* copy the whole study again"):
        Study.open(study.directory)
    assert (study.directory / "trials.csv").read_text() == before


def test_a_journal_with_a_missing_line_is_refused(tmp_path):
    study = new_study(tmp_path)
    study.add_trial({"x": 1})
    study.end_trial("t0000", "failed")
    study.close()
    journal = study.directory / "journal.jsonl"
    journal.write_text(journal.read_text().split("\n", 1)[1])
    with pytest.raises(StudyError, match=r"journal.jsonl is damaged: line 1 does not fit"):
        Study.open(study.directory)


def test_a_storage_path_that_is_a_file_is_named(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(StudyError, match="cannot create .* choose another --storage-path"):
        Study.create(tmp_path / "file" / "study", {})


def test_the_journal_is_plain_json_lines(tmp_path):
    study = new_study(tmp_path)
    study.add_trial({"x": 1})
    study.end_trial("t0000", "failed", "why")
    study.close()
    events = [json.loads(line) for line in (study.directory / "journal.jsonl").read_text().splitlines()]
    assert [event["event"] for event in events] == ["trial", "end"]


def test_the_message_of_a_full_disk_says_how_to_resume(tmp_path):
    study = Study.create(tmp_path / "study", {"config": {}})
    trial = study.add_trial({"x": 1})
    study._journal.close()
    study._journal._file = Path("/dev/full").open("a")  # noqa: SIM115, every write to it fails with ENOSPC
    with pytest.raises(DiskFullError, match=r"the disk of .*study is full; .*go on with --resume .*study"):
        study.add_epoch(trial.trial_id, {"epoch": 1, "best_val_acc": 0.5})
    study.close()
    again = Study.open(study.directory)
    assert [t.epochs for t in again.unfinished()] == [0]
    again.close()


def test_ended_trials_keep_their_order_after_reopening(tmp_path):
    study = Study.create(tmp_path / "study", {"config": {}})
    for _ in range(3):
        study.add_trial({"x": 1})
    for trial_id in ("t0002", "t0000"):
        study.end_trial(trial_id, "completed")
    assert [t.trial_id for t in study.ended_in_order] == ["t0002", "t0000"]
    study.close()
    again = Study.open(study.directory)
    assert [t.trial_id for t in again.ended_in_order] == ["t0002", "t0000"]
    again.close()


def test_a_study_names_its_columns_after_its_objective_and_ranks_by_it(tmp_path):
    study = Study.create(tmp_path / "loss", {"config": {"metric": "val_loss"}})
    for value in (0.7, 0.3, 0.5):
        trial = study.add_trial({"x": value})
        study.add_epoch(trial.trial_id, {"epoch": 1, "best_val_loss": value, "val_loss": value, "val_macro_f1": 0.25})
        study.end_trial(trial.trial_id, "completed")
    study.close()
    for opened in (study, Study.open(study.directory), Journal.read(study.directory)):
        assert [trial.best_value for trial in opened.ranking()] == [0.3, 0.5, 0.7]
    rows = read_csv(study.directory / "trials.csv")
    assert [row["best_val_loss"] for row in rows] == ["0.7", "0.3", "0.5"]
    assert "best_val_acc" not in rows[0]
    history = read_csv(study.directory / "history.csv")
    assert list(history[0])[-3:] == ["val_balanced_acc", "val_macro_f1", "val_top2_acc"]
    assert history[0]["val_macro_f1"] == "0.25"


def test_an_epoch_without_the_value_of_the_objective_is_damage(tmp_path):
    study = Study.create(tmp_path / "loss", {"config": {"metric": "val_loss"}})
    trial = study.add_trial({"x": 1})
    study.add_epoch(trial.trial_id, {"epoch": 1, "best_val_loss": 0.5})
    study.close()
    journal = study.directory / "journal.jsonl"
    journal.write_text(journal.read_text().replace("best_val_loss", "best_val_acc"))
    with pytest.raises(StudyError, match="line 2 does not fit"):
        Study.open(study.directory)


def test_the_cost_of_an_epoch_is_kept_and_stands_in_the_table_once_one_is_not_1(tmp_path):
    study = Study.create(tmp_path / "study", {"config": {}})
    study.add_trial({"width": 64})
    study.write_trials()
    assert "epoch_cost" not in (study.directory / "trials.csv").read_text()
    study.add_trial({"width": 96}, epoch_cost=2.1)
    study.close()
    header, *rows = (study.directory / "trials.csv").read_text().splitlines()
    assert header.endswith(",epoch_cost")
    assert [row.rsplit(",", 1)[1] for row in rows] == ["1.0", "2.1"]
    reopened = Study.open(study.directory)
    assert [trial.epoch_cost for trial in reopened.trials.values()] == [1.0, 2.1]
    reopened.close()
