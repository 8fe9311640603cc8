import io
import time

import pytest
from rich.console import Console
from rich.text import Text

from inat.tuning.live import search_source
from inat.tuning.live.keys import Action
from inat.tuning.live.screen import LEAVE
from inat.tuning.live.search_source import SearchSource
from inat.tuning.loggers import progress as progress_module
from inat.tuning.loggers.progress import SearchProgress, describe_best
from inat.tuning.rungs import Rungs
from tests.helpers import run_epochs


def ended(study, best: float, state: str, error: str = ""):
    trial = study.add_trial({"x": best})
    run_epochs(study, trial.trial_id, [best])
    study.end_trial(trial.trial_id, state, error)
    return trial


def test_one_line_a_trial_into_a_file(study):
    out = io.StringIO()
    with SearchProgress(study, 3, Console(file=out, width=40)) as progress:
        progress(ended(study, 0.4, "completed"))
        progress(ended(study, 0.5, "failed", "ValueError: [red]no markup[/red]"))
    lines = out.getvalue().splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("[1/3] t0000 completed best_val_acc 0.4000  epochs  1")
    assert lines[1].endswith("x=0.5  ValueError: [red]no markup[/red]")


def test_results_of_a_refit_are_of_photos_that_it_learns_from(study):
    out = io.StringIO()
    study.info["refit"] = True
    with SearchProgress(study, 1, Console(file=out, width=40)) as progress:
        progress(ended(study, 0.4, "completed"))
    assert out.getvalue().endswith("x=0.4  (on photos that it learns from)\n")
    assert progress.source().messages[-1].startswith("learns from the validation photos, too")


def test_no_total_is_named_where_the_time_decides(study):
    out = io.StringIO()
    with SearchProgress(
        study, None, Console(file=out, width=40), deadline=time.monotonic() + 60, budget=60
    ) as progress:
        progress(ended(study, 0.4, "completed"))
    assert out.getvalue().startswith("[1] t0000 completed")
    assert progress.source().wanted is None
    assert 50 < progress.source().left <= 60


def test_a_terminal_shows_the_page_and_what_was_printed_meanwhile_afterwards(study, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    out = io.StringIO()
    ended(study, 0.3, "completed")  # before a resume
    with SearchProgress(study, 2, Console(file=out, force_terminal=True, width=80, height=24)) as progress:
        progress(ended(study, 0.4, "failed", "ValueError: no"))
        progress.print_line("a node has joined")
        deadline = time.monotonic() + 20
        while "2/2 trials" not in out.getvalue() and time.monotonic() < deadline:
            time.sleep(0.05)
    page, _, after = out.getvalue().rpartition(LEAVE)
    text = Text.from_ansi(page.replace("\x1b[K", "\n")).plain
    assert "2/2 trials  0 running, 1 completed, 0 stopped, 1 failed" in text
    assert "a node has joined" in text
    assert after == ""  # printed on stdout, which is not this file
    assert not progress.source.printed.lines()


def test_the_page_stops_the_search_and_ends_trials(study):
    calls = []
    progress = SearchProgress(study, 1, stop=lambda: calls.append("stop"), end_trial=calls.append)
    assert progress._act(Action("end", "t0003")) is None
    assert progress.source().ending == {"t0003"}
    assert progress.source().status == "running"
    assert progress._act(Action("quit")) is None
    assert calls == ["t0003", "stop"]
    assert (progress.source().status, progress.source().can_end) == ("stopping", True)
    assert not SearchProgress(study, 1).source().can_end


def test_the_best_counts_the_epochs_of_running_trials_but_not_failed_ones(study):
    assert describe_best(study) == "best -"
    ended(study, 0.4, "completed")
    ended(study, 0.9, "failed")
    running = study.add_trial({"x": 1})
    run_epochs(study, running.trial_id, [0.3, 0.6])
    assert describe_best(study) == "best 0.6000 (t0002, epoch 2)"
    study.end_trial(running.trial_id, "stopped", "")
    assert describe_best(study) == "best 0.6000"


@pytest.mark.parametrize("start", [0.0, 600.0])
def test_the_time_left_counts_no_start_of_the_processes(study, monkeypatch, start):
    clock = [100.0]
    monkeypatch.setattr(search_source.time, "monotonic", lambda: clock[0])
    trial = study.add_trial({"x": 1})
    source = SearchSource(study, 1, rungs=Rungs(9, 3, 9))
    assert source().left is None
    clock[0] += start
    for epoch in (1, 2):
        clock[0] += 150.0
        study.add_epoch(trial.trial_id, {"epoch": epoch, "best_val_acc": 0.1, "seconds": 150.0})
        source.add_epoch(trial)
    assert source().left == pytest.approx(840)  # 7 epochs of 120 s: the trial is in its third one
    clock[0] += 4
    assert source().left == pytest.approx(836)
    assert source().elapsed == start + 304


def test_a_time_budget_ends_the_time_left(study, monkeypatch):
    clock = [100.0]
    monkeypatch.setattr(search_source.time, "monotonic", lambda: clock[0])
    trial = study.add_trial({"x": 1})
    source = SearchSource(study, 1, rungs=Rungs(9, 3, 9), deadline=130.0, budget=60.0)
    assert source.seconds_left() is None
    study.add_epoch(trial.trial_id, {"epoch": 1, "best_val_acc": 0.1, "seconds": 20.0})
    clock[0] += 20
    source.add_epoch(trial)
    page = source()
    assert (page.left, page.elapsed, page.budget) == (10, 50, 60)


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
