import io

from rich.console import Console
from rich.text import Text

from inat.study.study import Study
from inat.tuning.loggers.progress import SearchProgress, describe_counts, describe_trial
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
    assert "left" in text
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
