import pytest

from inat.errors import StudyError
from inat.finalize.retrain import RunSource, open_runs, retrain
from inat.study.study import Study
from tests.finalize.conftest import PARAMS
from tests.helpers import run_epochs

WANTED = [{"x": x, "seed": seed} for x in (1, 2) for seed in (1, 2)]


@pytest.fixture
def runs(tmp_path) -> Study:
    return Study.create(tmp_path / "runs", {"config": {}})


def hand_out(source: RunSource) -> list[tuple[str, int, int]]:
    given = []
    while source.remaining:
        settings = source.suggest(source.next_trial_id())
        given.append((settings["trial_id"], settings["x"], settings["seed"]))
    return given


def test_every_run_is_handed_out_once_in_order(runs):
    given = hand_out(RunSource(runs, WANTED))
    assert given == [("t0000", 1, 1), ("t0001", 1, 2), ("t0002", 2, 1), ("t0003", 2, 2)]
    source = RunSource(runs, WANTED)
    assert source.suggest("t0000")["threshold"] is None  # without a threshold its best.ckpt is always written


def test_ended_runs_are_not_repeated_unfinished_runs_continue_and_failed_runs_are_retried(runs):
    hand_out(RunSource(runs, WANTED))
    run_epochs(runs, "t0000", [0.5])
    runs.end_trial("t0000", "completed")
    runs.end_trial("t0001", "failed", "no luck")
    runs.close()
    again = Study.open(runs.directory)
    assert hand_out(RunSource(again, WANTED)) == [("t0002", 2, 1), ("t0003", 2, 2), ("t0004", 1, 2)]
    again.close()


def test_an_unfinished_run_that_is_no_longer_wanted_is_not_handed_out(runs):
    hand_out(RunSource(runs, WANTED))
    assert hand_out(RunSource(runs, WANTED[:1])) == [("t0000", 1, 1)]


def test_starting_over_hands_out_unfinished_runs_again(runs):
    source = RunSource(runs, WANTED[:2])
    hand_out(source)
    runs.end_trial("t0000", "failed", "no luck")  # failed in this call, so this call does not retry it
    assert hand_out(source.requeue_unfinished()) == [("t0001", 1, 2)]


def test_a_requeued_run_is_handed_out_before_new_ones(runs):
    source = RunSource(runs, WANTED)
    lost = source.suggest("t0000")
    source.requeue("t0000")
    assert source.suggest(source.next_trial_id()) == lost
    assert hand_out(source) == [("t0001", 1, 2), ("t0002", 2, 1), ("t0003", 2, 2)]


def test_runs_on_other_images_are_refused(tmp_path):
    open_runs(tmp_path / "runs", {"config": {}, "data": {"fingerprint": "a"}}).close()
    open_runs(tmp_path / "runs", {"config": {}, "data": {"fingerprint": "a"}}).close()
    with pytest.raises(StudyError, match="was made with other photos than its study; remove it and start again"):
        open_runs(tmp_path / "runs", {"config": {}, "data": {"fingerprint": "b"}})


def test_files_of_a_process_killed_while_creating_the_study_are_replaced(tmp_path):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / ".lock").touch()
    (tmp_path / "runs" / ".study.json").write_text("{")
    open_runs(tmp_path / "runs", {"config": {}, "data": {}}).close()
    assert Study.open(tmp_path / "runs").trials == {}


def test_an_interruption_keeps_ended_runs(digits_config, tmp_path, trainer):
    runs = open_runs(tmp_path / "runs", {"config": digits_config.to_json(), "data": {}})
    wanted = [PARAMS | {"seed": seed} for seed in (1, 2, 3)]
    trainer.interrupt_after = 1
    assert not retrain(digits_config, runs, wanted)
    trainer.interrupt_after = None
    assert retrain(digits_config, runs, wanted)
    assert retrain(digits_config, runs, wanted)
    runs.close()
    assert [settings["seed"] for settings in trainer.trained] == [1, 2, 3]
    assert len(list((tmp_path / "runs" / "checkpoints").glob("*/best.ckpt"))) == 3


def test_a_run_has_the_epochs_that_cost_those_of_the_recipe(runs):
    source = RunSource(runs, WANTED, max_epochs=60, epoch_cost=lambda params: 1.0 + (params["x"] == 2))
    given = [source.suggest(source.next_trial_id()) for _ in WANTED]
    assert [run["length"].get("max_epochs") for run in given] == [None, None, 30, 30]
    assert given[2]["length"]["patience"] == 30
    assert runs.trials["t0002"].epoch_cost == 2.0
