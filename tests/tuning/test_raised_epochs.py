"""A study whose trials may have more epochs than before (--resume STUDY --max-epochs N)."""

import json
from dataclasses import replace

import pytest
import torch

from analysis.study import load_study
from inat.config.search import SearchConfig
from inat.constants import PREPARATION, SECONDS
from inat.study.checkpoint_retention import prune_checkpoints
from inat.study.study import Study
from inat.study_check.command import check_study
from inat.tuning import search
from inat.tuning.best import write_best
from inat.tuning.best_json import read_best
from inat.tuning.progress import progress_of
from inat.tuning.raised_epochs import begin_raise
from inat.tuning.ray_backend.asha import asha_for
from inat.tuning.runner import restored_scheduler
from inat.tuning.task import check_task
from tests.helpers import run_epochs

OPTIONS = {"data": "digits", "max_epochs": 3, "grace_period": 1, "reduction_factor": 3, "patience": 8}
LONGER = SearchConfig(**OPTIONS | {"max_epochs": 9})


@pytest.fixture
def short(tmp_path) -> Study:
    """Six trials that have completed 3 epochs, one that diverged there, and one that ASHA stopped at epoch 1.

    At epoch 1, the first rung, all but the last are equal.
    """
    study = Study.create(tmp_path / "study", {"config": SearchConfig(**OPTIONS).to_json()})
    for value in (0.5, 0.3, 0.8, 0.4, 0.7, 0.6):
        complete(study, value)
    study.end_trial(add(study, [0.01, 0.1, 0.1], "diverged"), "completed", "diverged at epoch 3")
    study.end_trial(add(study, [0.005]), "stopped")
    return study


def add(study: Study, values: list[float], finished: str = "", control: bool = False) -> str:
    trial_id = study.add_trial({"x": values[-1]}, control).trial_id
    run_epochs(study, trial_id, values, **({"finished": finished} if finished else {}))
    return trial_id


def complete(study: Study, value: float, control: bool = False) -> str:
    trial_id = add(study, [0.01, value * 0.9, value], "max_epochs", control)
    study.end_trial(trial_id, "completed")
    return trial_id


def raise_to(study: Study, config: SearchConfig = LONGER) -> str:
    said: list[str] = []
    begin_raise(study, config, said.append)
    return "\n".join(said)


def states(study: Study) -> list[str]:
    return [trial.state for trial in study.trials.values()]


def test_the_best_third_goes_on_where_the_former_maximum_is_a_rung(short):
    said = raise_to(short)
    # Seven stood there, with the one that diverged: ASHA's quantile keeps three.
    expected = ["stopped", "stopped", "running", "stopped", "running", "running", "completed", "stopped"]
    assert states(short) == expected
    assert said == (
        "epochs  up to 9 instead of 3: of 6 trials that ended at epoch 3, 3 go on\n"
        "        again from the first epoch, with the same seed, as the study has not kept their last state\n"
        "        3 count as stopped there: epoch 3 is now a rung, where ASHA keeps the best 1/3"
    )
    short.close()
    again = Study.open(short.directory)
    assert states(again) == expected
    assert again.num_ended == 5
    assert again.trials["t0002"].finished is None
    assert [(entry["from"], entry["to"]) for entry in again.info["raised_epochs"]] == [(3, 9)]
    assert again.info["config"]["max_epochs"] == 9
    lines: list[str] = []
    again.close()
    assert check_study(short.directory, False, lines.append) == (0, 0), lines
    assert load_study(short.directory).trials["state"].tolist() == expected


def test_all_go_on_where_no_rung_lies_at_the_former_maximum(short):
    said = raise_to(short, replace(LONGER, grace_period=2))
    assert states(short) == ["running"] * 6 + ["completed", "stopped"]
    assert said.startswith("epochs  up to 9 instead of 3: of 6 trials that ended at epoch 3, 6 go on\n")
    assert "ASHA" not in said


def test_a_trial_that_has_run_out_of_patience_too_has_ended(short):
    flat = add(short, [0.9, 0.9, 0.9], "max_epochs")
    short.end_trial(flat, "completed")
    said = raise_to(short, replace(LONGER, patience=2))
    assert short.trials[flat].state == "completed"
    assert said.endswith("1 have ended, as they were out of --patience too")
    # Its value counts at the rung: of eight, three go on, and it is one of them.
    assert states(short)[:6] == ["stopped", "stopped", "running", "stopped", "running", "stopped"]


def test_the_rungs_take_in_all_who_stood_there_and_stop_nobody_who_goes_on(short):
    new = short.add_trial({"x": 9}).trial_id
    raise_to(short)
    for again in (False, True):
        study = reopened(short) if again else short
        scheduler = restored_scheduler(LONGER, study)
        assert states(study)[2] == states(study)[4] == "running"
        assert not scheduler.stopped_early & {"t0002", "t0004"}
        (bracket,) = scheduler._brackets
        assert dict(bracket._rungs)[3] == {f"t000{i}": v for i, v in enumerate([0.5, 0.3, 0.8, 0.4, 0.7, 0.6, 0.1])}
        scheduler.replay([(new, {"epoch": 1, "best_val_acc": 0.5}), (new, {"epoch": 3, "best_val_acc": 0.55})])
        assert new in scheduler.stopped_early


def reopened(study: Study) -> Study:
    study.close()
    return Study.open(study.directory)


def test_a_control_trial_goes_on_and_counts_in_no_later_rung(short):
    worst, best = complete(short, 0.2, control=True), complete(short, 0.9, control=True)
    raise_to(short, replace(LONGER, max_epochs=27))
    assert [short.trials[i].state for i in (worst, best)] == ["running", "running"]
    for again in (False, True):
        study = reopened(short) if again else short
        assert [study.trials[i].stop_epoch for i in (worst, best)] == [3, None]
        assert study.lesson_of(study.trials[worst]).state == "stopped"
        assert study.lesson_of(study.trials[best]) is None
        scheduler = asha_for(study, max_epochs=27, grace_period=1, reduction_factor=3)
        assert scheduler.would_stop == {worst: 3}
        scheduler.replay([(worst, {"epoch": 9, "best_val_acc": 0.3}), (best, {"epoch": 9, "best_val_acc": 0.95})])
        (bracket,) = scheduler._brackets
        assert dict(bracket._rungs)[9] == {best: 0.95}


@pytest.mark.parametrize("kept", range(7))
def test_a_process_killed_while_it_raises_leaves_the_rest_to_the_next(short, kept):
    before = len((short.directory / "journal.jsonl").read_text().splitlines())
    raise_to(short)
    expected = {i: (t.state, t.history, t.raised) for i, t in short.trials.items()}
    short.close()
    journal = short.directory / "journal.jsonl"
    journal.write_text("".join(line + "\n" for line in journal.read_text().splitlines()[: before + kept]))
    study = Study.open(short.directory)
    raise_to(study)
    assert {i: (t.state, t.history, t.raised) for i, t in study.trials.items()} == expected
    assert len(study.info["raised_epochs"]) == 1


def test_the_same_line_twice_counts_once(short):
    raise_to(short)
    short.close()
    journal = short.directory / "journal.jsonl"
    journal.write_text("".join(line + "\n" for old in journal.read_text().splitlines() for line in (old, old)))
    assert states(Study.open(short.directory))[2] == "running"


@pytest.mark.parametrize(
    "event",
    [{"epoch": 3, "max_epochs": 9, "state": "completed"}, {"epoch": 2, "max_epochs": 9, "state": "running"},
     {"epoch": 3, "max_epochs": 3, "state": "running"}, {"epoch": 3, "state": "running"},
     {"epoch": 3, "max_epochs": 9, "state": "running", "trial_id": "t0007"}],
    ids=str,
)  # fmt: skip
def test_a_raise_that_does_not_fit_is_damage(short, event):
    short.close()
    with (short.directory / "journal.jsonl").open("a") as file:
        file.write(json.dumps({"event": "raised", "trial_id": "t0000"} | event) + "\n")
    lines: list[str] = []
    check_study(short.directory, False, lines.append)
    assert any("does not fit the lines before it" in line for line in lines)


def test_the_former_result_counts_until_a_trial_has_ended_again(short):
    assert write(short, "t0002", 0.8) == "t0002"
    raise_to(short)
    assert (short.best().trial_id, short.best().best_value, short.best().epochs) == ("t0002", 0.8, 3)
    run_epochs(short, "t0002", [0.4])  # from the first epoch again, with other times
    (short.checkpoint_dir("t0002") / "best.ckpt").unlink()
    study = reopened(short)
    assert write_best(study).trial_id == "t0002"
    assert read_best(study.directory)["best_val_acc"] == 0.8
    run_epochs(study, "t0002", [0.4, 0.7, 0.8, 0.85], finished="max_epochs")
    study.end_trial("t0002", "completed")
    assert study.best().best_value == 0.85
    assert [trial.trial_id for trial in study.ranking()].count("t0002") == 1


def write(study: Study, trial_id: str, value: float) -> str:
    path = study.checkpoint_dir(trial_id) / "best.ckpt"
    path.parent.mkdir(parents=True)
    torch.save({"weights": value}, path)
    return write_best(study).trial_id


def test_a_former_best_that_fails_later_gives_way(short):
    raise_to(short)
    short.end_trial("t0002", "failed", "ValueError: no")
    assert short.best().trial_id == "t0004"


def test_the_state_after_the_last_epoch_stays_with_the_weights_and_becomes_the_one_to_go_on_from(short):
    for number in range(6):
        folder = short.checkpoint_dir(f"t000{number}")
        folder.mkdir(parents=True)
        for name in ("best.ckpt", "end.ckpt", "last.ckpt"):
            (folder / name).write_text(name)
    prune_checkpoints(short, keep=3)
    files = {path.name: sorted(p.name for p in path.iterdir()) for path in (short.directory / "checkpoints").iterdir()}
    assert files == {f"t000{number}": ["best.ckpt", "end.ckpt"] for number in (2, 4, 5)}
    assert "3 go on\n        3 count as stopped" in raise_to(short)
    files = {path.name: sorted(p.name for p in path.iterdir()) for path in (short.directory / "checkpoints").iterdir()}
    assert files == {
        "t0002": ["best.ckpt", "last.ckpt"], "t0004": ["best.ckpt", "last.ckpt"],
        "t0005": ["best.ckpt", "last.ckpt"],
    }  # fmt: skip
    assert (short.checkpoint_dir("t0002") / "last.ckpt").read_text() == "end.ckpt"


def test_a_trial_whose_end_was_not_written_has_ended_at_the_former_maximum(short):
    late = add(short, [0.5, 0.8, 0.85], "max_epochs")
    raise_to(short)
    assert short.trials[late].state == "running"
    assert short.trials[late].raised == ((3, 9),)


def test_the_maximum_may_be_raised_more_than_once(short):
    raise_to(short)
    for trial_id, value in (("t0002", 0.9), ("t0004", 0.95), ("t0005", 0.85)):
        for epoch in range(4, 10):
            row = {"epoch": epoch, "best_val_acc": value} | ({"finished": "max_epochs"} if epoch == 9 else {})
            short.add_epoch(trial_id, row)
        short.end_trial(trial_id, "completed")
    assert raise_to(short) == ""  # a resumed search with the same options
    said = raise_to(short, replace(LONGER, max_epochs=27))
    assert said.startswith("epochs  up to 27 instead of 9: of 3 trials that ended at epoch 9, 1 goes on\n")
    assert [short.trials[i].state for i in ("t0002", "t0004")] == ["stopped", "running"]
    assert [(entry["from"], entry["to"]) for entry in short.info["raised_epochs"]] == [(3, 9), (9, 27)]


def test_a_study_without_such_trials_says_so(study, tmp_path):
    study = Study.create(tmp_path / "other", {"config": SearchConfig(**OPTIONS).to_json()})
    assert raise_to(study) == "epochs  up to 9 instead of 3; no trial has ended at epoch 3"


def test_a_plan_counts_the_trials_that_would_go_on(tmp_path):
    settings = OPTIONS | {"image_size": 8, "num_samples": 7, "storage_path": tmp_path, "name": "S"}
    study, _ = search.open_study(SearchConfig(**settings))
    for value in (0.5, 0.3, 0.8):
        complete(study, value)
    study.close()
    for most, ended in ((3, ["t0000", "t0001", "t0002"]), (9, ["t0000", "t0001"])):
        progress = progress_of(check_task(SearchConfig(**settings | {"max_epochs": most}, resume=study.directory)))
        assert [trial.trial_id for trial in progress.ended] == ended
        assert progress.left == 7 - len(ended)


@pytest.mark.slow
@pytest.mark.long
def test_a_search_with_a_raised_maximum_has_the_epochs_of_one_with_that_maximum(tmp_path):
    options = {"data": "digits", "image_size": 8, "num_samples": 4, "grace_period": 1, "searcher": "random",
               "storage_path": tmp_path, "max_concurrent": 1, "keep_checkpoints": 2, "patience": 9}  # fmt: skip
    whole = run(SearchConfig(**options, name="whole", max_epochs=4))
    run(SearchConfig(**options, name="raised", max_epochs=2))
    raised = run(SearchConfig(**options, name="raised", max_epochs=4, resume=tmp_path / "raised"))
    assert "running" not in states(raised)
    assert results(raised) == results(whole)
    assert any(trial.raised and trial.epochs == 4 for trial in raised.trials.values())
    lines: list[str] = []
    assert check_study(raised.directory, False, lines.append) == (0, 0), lines


def run(config: SearchConfig) -> Study:
    study, space = search.open_study(config)
    search.run(config, study, space)
    study.close()
    return study


def results(study: Study) -> dict:
    left_out = (SECONDS, PREPARATION)
    return {
        i: (t.params, t.state, [{n: v for n, v in row.items() if n not in left_out} for row in t.history])
        for i, t in study.trials.items()
    }
