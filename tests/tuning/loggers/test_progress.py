import io

from rich.console import Console
from rich.text import Text

from inat.study.study import Study
from inat.tuning.loggers import progress as progress_module
from inat.tuning.loggers.progress import SearchProgress, describe_counts, describe_trial
from inat.tuning.rungs import Rungs
from tests.helpers import run_epochs


def ended(study, best: float, state: str, error: str = ""):
    trial = study.add_trial({"x": best})
    run_epochs(study, trial.trial_id, [best])
    study.end_trial(trial.trial_id, state, error)
    return trial


def test_counts_show_best_and_states(study):
    assert describe_counts(study) == "best -, 0 running, 0 completed, 0 stopped, 0 failed"
    ended(study, 0.4, "completed")
    ended(study, 0.7, "stopped")
    ended(study, 0.9, "failed")
    study.add_trial({"x": 1})
    assert describe_counts(study) == "best 0.7000, 1 running, 1 completed, 1 stopped, 1 failed"


def test_one_line_a_trial_into_a_file(study):
    out = io.StringIO()
    with SearchProgress(study, 3, Console(file=out, width=40)) as progress:
        progress(ended(study, 0.4, "completed"))
        progress(ended(study, 0.5, "failed", "ValueError: [red]no markup[/red]"))
    lines = out.getvalue().splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("[1/3] t0000 completed best_val_acc 0.4000  epochs  1")
    assert lines[1].endswith("x=0.5  ValueError: [red]no markup[/red]")


def test_a_live_view_that_fits_a_terminal_of_80_columns(study):
    out = io.StringIO()
    ended(study, 0.3, "completed")  # before a resume
    with SearchProgress(study, 2, Console(file=out, force_terminal=True, width=80)) as progress:
        progress(ended(study, 0.4, "completed"))
    text = Text.from_ansi(out.getvalue()).plain
    assert "2/2 trials" in text
    assert "a minute" in text
    assert "best 0.4000, 0 running, 2 completed, 0 stopped, 0 failed" in text
    assert "…" not in text
    assert "t0001 completed" not in text


def test_the_objective_is_named_and_the_score_of_a_constant_answer_stands_below(tmp_path):
    counts = {"train": [9, 1], "val": [3, 1], "test": [3, 1]}
    study = Study.create(tmp_path / "study", {"config": {"metric": "balanced_accuracy"}, "class_counts": counts})
    out = io.StringIO()
    with SearchProgress(study, 1, Console(file=out, force_terminal=True, width=80)) as progress:
        progress(ended(study, 0.7, "completed"))
    text = Text.from_ansi(out.getvalue()).plain
    assert "best balanced accuracy 0.7000, 0 running, 1 completed" in text
    assert "a constant answer scores 0.5000" in text
    assert "…" not in text
    assert describe_trial(study.trials["t0000"]).startswith("t0000 completed best_val_balanced_acc 0.7000")


def test_the_best_counts_the_epochs_of_running_trials_but_not_failed_ones(study):
    ended(study, 0.4, "completed")
    ended(study, 0.9, "failed")
    running = study.add_trial({"x": 1})
    run_epochs(study, running.trial_id, [0.3, 0.6])
    assert describe_counts(study).startswith("best 0.6000 (t0002, epoch 2), 1 running")
    study.end_trial(running.trial_id, "stopped", "")
    assert describe_counts(study).startswith("best 0.6000, 0 running")


def test_the_time_left_stands_beside_the_bar_from_the_first_epoch_on(study, monkeypatch):
    clock = [100.0]
    monkeypatch.setattr(progress_module.time, "monotonic", lambda: clock[0])
    out, trial = io.StringIO(), study.add_trial({"x": 1})
    console = Console(file=out, force_terminal=True, width=80)
    with SearchProgress(study, 1, console, rungs=Rungs(9, 3, 9)) as progress:
        assert progress.seconds_left() is None
        for epoch in (1, 2):
            clock[0] += 150.0
            study.add_epoch(trial.trial_id, {"epoch": epoch, "best_val_acc": 0.1})
            progress(trial)
    assert "left 14 min" in Text.from_ansi(out.getvalue()).plain  # 7 epochs of 120 s: the trial is in its third one
    budget = SearchProgress(study, 1, console, rungs=Rungs(9, 3, 9), deadline=clock[0] + 30)
    assert budget.seconds_left() is None
    budget(trial)
    assert budget.seconds_left() == 30


def test_a_file_has_a_line_about_a_better_result_of_a_running_trial_once_a_minute(study, monkeypatch):
    clock = [100.0]
    monkeypatch.setattr(progress_module.time, "monotonic", lambda: clock[0])
    out, trial = io.StringIO(), study.add_trial({"x": 1})
    with SearchProgress(study, 3, Console(file=out, width=80)) as progress:
        for epoch, seconds in enumerate((30, 40, 30, 40), start=1):
            clock[0] += seconds
            study.add_epoch(trial.trial_id, {"epoch": epoch, "best_val_acc": epoch / 10})
            progress(trial)
    assert out.getvalue().splitlines() == ["[0/3] best 0.2000 (t0000, epoch 2)", "[0/3] best 0.4000 (t0000, epoch 4)"]
