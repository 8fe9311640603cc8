"""The whole search on a real local Ray, with objectives of one line."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import optuna
import pandas as pd
import pytest
import ray
from ray import tune

from analysis.study import load_study
from inat.config.search import SearchConfig
from inat.errors import ConfigError, SearchError, StudyError
from inat.study.folds import as_trial_row
from inat.study.study import Study
from inat.tuning import search
from inat.tuning.best import evaluate_best_on_test as score_once
from inat.tuning.best import write_best
from inat.tuning.ray_backend import hang_monitor
from inat.tuning.ray_backend.session import ray_session
from tests.helpers import children_of
from tests.paths import ROOT

pytestmark = pytest.mark.slow


def parabola(params):
    """Best at learning rate 1e-3 and 64 dense neurons; mish without batch norm fails."""
    if params["activation"] == "mish" and not params["batch_norm"]:
        raise ValueError("no mish today")
    value = 1 - abs(params["learning_rate"] - 1e-3) - 0.1 * (params["num_neurons_dense"] != 64)
    for epoch in range(1, 10):
        tune.report({"epoch": epoch, "best_val_acc": value * epoch / 9, "seconds": 0.0})


def config(tmp_path: Path, **changes) -> SearchConfig:
    settings = {"data": "digits", "num_samples": 12, "max_epochs": 9, "storage_path": tmp_path, "name": "study",
                "max_failures": 0, "max_concurrent": 2}  # fmt: skip
    return SearchConfig(**settings | changes)


def listening_outside() -> set[str]:
    """Addresses off the loopback device that anything on this machine listens on."""
    lines = subprocess.run(["ss", "-ltnH"], capture_output=True, text=True, check=True).stdout.splitlines()
    return {line.split()[3] for line in lines if not line.split()[3].startswith(("127.", "[::ffff:127.", "[::1]"))}


@pytest.mark.skipif(shutil.which("ss") is None, reason="needs `ss` of iproute2 to see who listens where")
def test_local_ray_listens_on_the_loopback_device_only(tmp_path):
    @ray.remote
    def worker() -> int:
        return os.getpid()

    before = listening_outside()
    with ray_session(config(tmp_path)):
        ray.get(worker.remote())
        assert listening_outside() <= before


def check_complete(directory: Path, trials: int) -> None:
    frames = load_study(directory)
    assert len(frames.trials) == frames.trials["trial_id"].nunique() == trials
    assert set(frames.trials["state"]) <= {"completed", "stopped", "failed"}
    for _, epochs in frames.history.groupby("trial_id")["epoch"]:
        assert list(epochs) == list(range(1, len(epochs) + 1))


def test_a_search_ends_with_a_complete_study_and_can_be_extended(tmp_path):
    settings = config(tmp_path)
    study, space = search.open_study(settings)
    outcome = search.run(settings, study, space, parabola)
    assert not outcome.interrupted
    assert not ray.is_initialized()
    assert outcome.slots.count == 2
    best = write_best(study)
    study.close()
    check_complete(study.directory, 12)
    trials = load_study(study.directory).trials
    assert (trials.loc[trials["state"] == "failed", "error"] == "ValueError: no mish today").all()
    assert (trials["state"] == "stopped").any()
    assert best.trial.best_value == trials.loc[trials["state"] != "failed", "best_val_acc"].max()
    assert json.loads((study.directory / "best.json").read_text())["trial_id"] == best.trial_id
    assert score_once(study, settings.data_config()) is None  # nothing was trained, so there is nothing to test
    info = json.loads((study.directory / "study.json").read_text())
    assert info["space"]["dropout"] == [0.2, 0.3]
    assert info["versions"]["ray"] == ray.__version__

    study, space = search.open_study(config(tmp_path, resume=study.directory))
    (study.directory / "study.db").unlink()  # as if the driver had been killed before it was written
    assert search.run(settings, study, space, parabola).slots is None  # nothing is missing, so nothing starts
    study.close()
    assert len(optuna.load_study(study_name=None, storage=f"sqlite:///{study.directory}/study.db").trials) == 12

    more = config(tmp_path, num_samples=16, resume=study.directory)
    study, space = search.open_study(more)
    before = {t.trial_id: t.params for t in study.trials.values()}
    search.run(more, study, space, parabola)
    study.close()
    check_complete(study.directory, 16)
    assert {i: t.params for i, t in study.trials.items() if i in before} == before


def test_a_disk_that_fills_up_stops_the_search_with_a_sentence_and_a_resume_goes_on(tmp_path, monkeypatch):
    settings = config(tmp_path)
    study, space = search.open_study(settings)
    ends, real = [], Study.end_trial

    def end_trial(self, *args):
        ends.append(args)
        if len(ends) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(Study, "end_trial", end_trial)
        with pytest.raises(StudyError, match="cannot be written .No space left on device.; .* go on with --resume"):
            search.run(settings, study, space, parabola)
    study.close()
    assert len(ends) == 3
    study, space = search.open_study(config(tmp_path, resume=study.directory))
    search.run(settings, study, space, parabola)
    study.close()
    check_complete(study.directory, 12)


def steady(params):
    for epoch in range(1, 10):
        time.sleep(0.05)
        tune.report({"epoch": epoch, "best_val_acc": 0.1 * epoch})


def test_a_target_stops_the_search_cleanly_and_a_resume_goes_on(tmp_path):
    study, space = search.open_study(config(tmp_path, target=0.8))
    outcome = search.run(config(tmp_path, target=0.8), study, space, steady)
    study.close()
    assert "reached the target accuracy of 0.8" in outcome.limit
    assert not outcome.interrupted
    assert len(study.ended()) < 12
    assert study.best().best_value >= 0.8
    mirrored = optuna.load_study(study_name=None, storage=f"sqlite:///{study.directory}/study.db").trials
    assert {t.user_attrs["trial_id"] for t in mirrored} == {t.trial_id for t in study.ended()}
    again, space = search.open_study(config(tmp_path, resume=study.directory, target=0.8))
    outcome = search.run(config(tmp_path, target=0.8), again, space, steady)
    again.close()
    assert "reached the target accuracy of 0.8" in outcome.limit
    assert outcome.slots is None  # it is reached already, so nothing starts
    more = config(tmp_path, resume=study.directory)
    study, space = search.open_study(more)
    outcome = search.run(more, study, space, steady)
    study.close()
    assert outcome.limit == ""
    check_complete(study.directory, 12)


def test_a_time_budget_stops_the_search_cleanly_and_no_trial_fails_of_it(tmp_path):
    settings = config(tmp_path, time_budget="1s")
    study, space = search.open_study(settings)
    outcome = search.run(settings, study, space, steady)
    study.close()
    assert "time budget of 1 s" in outcome.limit
    assert not outcome.interrupted
    assert len(study.ended()) < 12
    left = Study.open(study.directory)
    assert {t.state for t in left.trials.values()} <= {"completed", "stopped", "running"}  # and none has failed
    left.close()


def test_a_hanging_trial_is_ended_and_the_search_goes_on(tmp_path):
    def hanging(params):
        from threading import Event

        from inat.tuning.ray_backend.hang_monitor import Watchdog

        number = int(params["trial_id"][1:])
        with Watchdog(Path(params["study_dir"]) / "errors" / f"{params['trial_id']}.hang.txt", 2.0):
            if number == 1:
                Event().wait()
        tune.report({"epoch": 1, "best_val_acc": 0.5, "finished": "patience", "done": True})

    settings = config(tmp_path, num_samples=4)
    study, space = search.open_study(settings)
    search.run(settings, study, space, hanging)
    study.close()
    states = {t.trial_id: (t.state, t.error) for t in study.trials.values()}
    assert states.pop("t0001") == ("failed", "no epoch within --trial-timeout")
    assert set(states.values()) == {("completed", "")}
    assert "wait" in (study.directory / "errors" / "t0001.hang.txt").read_text()


def test_a_frozen_process_is_ended_from_outside_and_its_trial_tried_again(tmp_path, monkeypatch):
    def freezing(params):
        frozen = Path(params["study_dir"]) / "frozen"
        if params["trial_id"] == "t0001" and not frozen.exists():
            frozen.touch()
            os.kill(os.getpid(), signal.SIGSTOP)  # all of its threads stop: no watchdog of its own can help
        tune.report({"epoch": 1, "best_val_acc": 0.5, "finished": "patience", "done": True})

    monkeypatch.setattr(hang_monitor, "MARGIN_SECONDS", 1.0)
    settings = config(tmp_path, num_samples=4, max_failures=1, trial_timeout="3s")
    study, space = search.open_study(settings)
    search.run(settings, study, space, freezing)
    study.close()
    assert {t.state for t in study.trials.values()} == {"completed"}
    assert (study.directory / "frozen").exists()
    assert "killed from outside" in (study.directory / "errors" / "t0001.hang.txt").read_text()


def test_a_trial_whose_process_dies_while_it_is_handed_over_is_the_next_to_run(tmp_path):
    def fragile(params):
        try:
            tune.report({"epoch": 1, "best_val_acc": 0.5, "finished": "patience", "done": True})
        finally:  # the report returns only when Tune resets the process for its next trial
            if params["trial_id"] == "t0000":
                os._exit(1)

    settings = config(tmp_path, num_samples=4, max_failures=1, max_concurrent=1)
    study, space = search.open_study(settings)
    search.run(settings, study, space, fragile)
    study.close()
    assert [(t.trial_id, t.state) for t in study.ended_in_order] == [(f"t000{i}", "completed") for i in range(4)]
    assert (study.directory / "errors" / "t0001.txt").exists()
    assert len(list((study.directory / "ray").iterdir())) == 1  # Tune ran once, not again for what was left


def test_a_search_where_all_fail_says_why(tmp_path, monkeypatch):
    from inat.tuning import command

    def broken(params):
        raise RuntimeError("the moon is in the way")

    def run(settings, study, space, objective, **rest):
        return real(settings, study, space, broken, **rest)

    real = search.run
    monkeypatch.setattr(search, "run", run)
    with pytest.raises(SearchError, match="no trial in .* has a result; .* RuntimeError: the moon is in the way"):
        command.search_and_report(config(tmp_path, num_samples=2))
    assert list(pd.read_csv(tmp_path / "study" / "trials.csv")["state"]) == ["failed", "failed"]


def test_changed_photos_are_refused_on_resume(image_tree, tmp_path):
    root = image_tree()
    settings = config(tmp_path / "results", data=str(root), image_size=16)
    search.open_study(settings)[0].close()
    next((root / "train" / "bird").iterdir()).unlink()
    resumed = config(tmp_path / "results", data=str(root), image_size=16, resume=tmp_path / "results" / "study")
    with pytest.raises(StudyError, match="have changed since"):
        search.open_study(resumed)


def test_an_address_where_nobody_answers_is_said(tmp_path):
    with pytest.raises(SearchError, match=r"no Ray cluster answers at --address 127.0.0.1:1"):
        with ray_session(config(tmp_path, address="127.0.0.1:1")):
            pass
    with pytest.raises(ConfigError, match="is a Ray client address"):
        with ray_session(config(tmp_path, address="ray://127.0.0.1:10001")):
            pass


SLOW_SEARCH = """
    import os, sys, time
    from pathlib import Path
    from ray import tune
    from inat.config.search import SearchConfig
    from inat.tuning import search

    def slow(params):
        for epoch in range(1, 4):
            time.sleep(0.3)
            tune.report({"epoch": epoch, "best_val_acc": params["dropout"] * epoch})

    if __name__ == "__main__":
        resume = Path(sys.argv[2]) if len(sys.argv) > 2 else None
        settings = SearchConfig(data="digits", num_samples=int(os.environ.get("SAMPLES", 8)), max_epochs=3,
                                storage_path=Path(sys.argv[1]), name="study", resume=resume,
                                max_failures=int(os.environ.get("FAILURES", 2)))
        study, space = search.open_study(settings)
        outcome = search.run(settings, study, space, slow,
                             on_forced_exit=lambda cause: print("gave up waiting", cause, flush=True))
        study.close()
        print("interrupted", outcome.interrupted)
"""


def start(tmp_path: Path, *args: str, own_group: bool = False) -> subprocess.Popen[str]:
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(SLOW_SEARCH))
    command = [sys.executable, str(script), str(tmp_path), *args]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT, start_new_session=own_group
    )


def wait_for_epochs(directory: Path, count: int) -> None:
    deadline = time.monotonic() + 180
    journal = directory / "journal.jsonl"
    while not journal.exists() or journal.read_text().count('"epoch"') < count:
        assert time.monotonic() < deadline, "the search reported nothing for three minutes"
        time.sleep(0.05)


def alive(pids: set[int]) -> set[int]:
    listed = subprocess.run(["ps", "-eo", "pid,stat"], capture_output=True, text=True, check=True).stdout
    return pids & {int(a) for a, stat in (line.split() for line in listed.splitlines()[1:]) if stat[0] != "Z"}


def agents_among(pids: set[int]) -> set[int]:
    listed = subprocess.run(["ps", "-eo", "pid,args"], capture_output=True, text=True, check=True).stdout
    rows = (line.split(None, 1) for line in listed.splitlines()[1:])
    return pids & {int(pid) for pid, args in rows if "Agent" in args}


def gone(pids: set[int], seconds: float = 30) -> bool:
    deadline = time.monotonic() + seconds
    while alive(pids) and time.monotonic() < deadline:
        time.sleep(0.2)
    return not alive(pids)


def test_ctrl_c_stops_cleanly_and_leaves_no_process(tmp_path):
    process = start(tmp_path)
    wait_for_epochs(tmp_path / "study", 3)
    children = children_of(process.pid)
    assert children
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=120)
    assert output.splitlines()[-1] == "interrupted True"
    assert gone(children)


def test_a_search_whose_driver_was_killed_resumes_to_the_full_number(tmp_path):
    process = start(tmp_path)
    wait_for_epochs(tmp_path / "study", 9)
    children = children_of(process.pid)
    process.kill()
    process.communicate(timeout=120)
    assert gone(children - agents_among(children))  # two agents take a minute to notice, then end by themselves
    study = Study.open(tmp_path / "study")
    known = {t.trial_id: t.params for t in study.trials.values()}
    assert 0 < len(study.ended()) < 8
    study.close()

    resumed = start(tmp_path, str(tmp_path / "study"))
    output, _ = resumed.communicate(timeout=240)
    assert resumed.returncode == 0, output
    check_complete(tmp_path / "study", 8)
    again = Study.open(tmp_path / "study")
    assert {i: t.params for i, t in again.trials.items() if i in known} == known
    again.close()


@pytest.mark.parametrize(
    ("program", "server"),
    [("raylet", "raylet on this machine"), pytest.param("gcs_server", "GCS server", marks=pytest.mark.long)],
)
def test_a_server_of_ray_that_dies_ends_the_search_soon(tmp_path, program, server, monkeypatch):
    monkeypatch.setenv("SAMPLES", "200")  # the workers go on without their raylet
    process = start(tmp_path)
    wait_for_epochs(tmp_path / "study", 3)
    children = children_of(process.pid)
    victim = next(pid for pid in children if Path(f"/proc/{pid}/comm").read_text().strip() == program)
    os.kill(victim, signal.SIGKILL)
    killed = time.monotonic()
    output, _ = process.communicate(timeout=60)
    assert time.monotonic() - killed < 15
    assert process.returncode == 1, output
    assert f"gave up waiting error: Ray's {server} has died" in output
    assert gone(children)
    study = Study.open(tmp_path / "study")
    assert study.trials
    study.close()


@pytest.mark.long
def test_trials_that_die_with_the_raylet_stay_unfinished_even_without_retries(tmp_path, monkeypatch):
    monkeypatch.setenv("SAMPLES", "200")
    monkeypatch.setenv("FAILURES", "0")
    process = start(tmp_path)
    wait_for_epochs(tmp_path / "study", 3)
    for agent in agents_among(children_of(process.pid)):
        os.kill(agent, signal.SIGKILL)  # the raylet follows, and its workers too
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1, output
    assert "gave up waiting error: Ray's raylet on this machine has died" in output
    study = Study.open(tmp_path / "study")
    assert [trial.error for trial in study.ended() if trial.state == "failed"] == []
    assert study.unfinished()
    study.close()


def test_a_signal_to_the_whole_group_ends_the_search_with_the_study_intact(tmp_path):
    # As `timeout`, systemd and Slurm do it: Ray's own servers get the signal too.
    process = start(tmp_path, own_group=True)
    wait_for_epochs(tmp_path / "study", 3)
    children = children_of(process.pid)
    os.killpg(process.pid, signal.SIGTERM)
    output, _ = process.communicate(timeout=90)
    assert "gave up waiting" in output or "interrupted True" in output
    assert gone(children - agents_among(children))
    study = Study.open(tmp_path / "study")
    assert study.trials
    study.close()


def folded_parabola(params):
    """Three trainings of up to three epochs; a trial with a high learning rate is lucky in its first one."""
    value = 1 - abs(params["learning_rate"] - 1e-3) - 0.1 * (params["num_neurons_dense"] != 64)
    before: list[dict] = []
    for fold in (1, 2, 3):
        last = 2 if fold == 2 else 3
        rows = []
        for epoch in range(1, last + 1):
            shown = (value + 0.05 * (fold == 1) * (params["learning_rate"] > 5e-3)) * epoch / last
            row = {"epoch": epoch, "best_val_acc": shown, "seconds": 0.0}
            rows.append(as_trial_row(row, fold, before, ends=epoch == last))
            if fold == 3 and epoch == last:
                rows[-1] |= {"finished": "max_epochs", "done": True}
            tune.report(rows[-1])
        before += rows


@pytest.mark.long
def test_asha_compares_means_at_the_end_of_each_fold_and_a_resumed_search_decides_the_same(tmp_path):
    options = {"max_epochs": 3, "folds": 3, "grace_period": 1, "max_concurrent": 1, "num_samples": 12}
    outcomes = []
    for name, counts in (("whole", [12]), ("resumed", [5, 12])):
        for count in counts:
            resume = tmp_path / name if count != counts[0] else None
            wanted = config(tmp_path, **options | {"name": name, "num_samples": count, "resume": resume})
            study, space = search.open_study(wanted)
            search.run(wanted, study, space, folded_parabola)
            study.close()
        with_result = Study.open(tmp_path / name)
        outcomes.append([(t.params, t.state, t.epochs, t.best_value) for t in with_result.trials.values()])
        best = with_result.best()
        assert best.folds_done == 3
        stopped = [t for t in with_result.ended() if t.state == "stopped"]
        assert {t.folds_done for t in stopped} <= {0, 1, 2}
        assert all(t.epochs in (1, 3, 5) for t in stopped)
        assert len(stopped) >= 4
        with_result.close()
    assert outcomes[0] == outcomes[1]
