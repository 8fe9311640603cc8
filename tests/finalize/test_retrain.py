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
    while source.waiting:
        settings = source.suggest(source.next_trial_id())
        given.append((settings["trial_id"], settings["x"], settings["seed"]))
    return given


def test_every_training_is_handed_out_once_in_order(runs):
    given = hand_out(RunSource(runs, WANTED))
    assert given == [("t0000", 1, 1), ("t0001", 1, 2), ("t0002", 2, 1), ("t0003", 2, 2)]
    source = RunSource(runs, WANTED)
    assert source.suggest("t0000")["threshold"] is None  # so that its best.ckpt is written however good it is


def test_what_has_ended_is_not_repeated_what_was_left_goes_on_and_what_failed_is_tried_again(runs):
    hand_out(RunSource(runs, WANTED))
    run_epochs(runs, "t0000", [0.5])
    runs.end_trial("t0000", "completed")
    runs.end_trial("t0001", "failed", "no luck")
    runs.close()
    again = Study.open(runs.directory)
    assert hand_out(RunSource(again, WANTED)) == [("t0002", 2, 1), ("t0003", 2, 2), ("t0004", 1, 2)]
    again.close()


def test_a_training_left_unfinished_that_nobody_wants_any_more_stays(runs):
    hand_out(RunSource(runs, WANTED))
    assert hand_out(RunSource(runs, WANTED[:1])) == [("t0000", 1, 1)]


def test_starting_over_hands_out_again_what_did_not_end(runs):
    source = RunSource(runs, WANTED[:2])
    hand_out(source)
    runs.end_trial("t0000", "failed", "no luck")  # in this call: not tried again in it
    assert hand_out(source.requeue_unfinished()) == [("t0001", 1, 2)]


def test_a_training_that_never_began_is_handed_out_again_before_others(runs):
    source = RunSource(runs, WANTED)
    lost = source.suggest("t0000")
    source.requeue("t0000")
    assert source.suggest(source.next_trial_id()) == lost
    assert hand_out(source) == [("t0001", 1, 2), ("t0002", 2, 1), ("t0003", 2, 2)]


def test_the_trainings_of_other_photos_are_not_mixed(tmp_path):
    open_runs(tmp_path / "runs", {"config": {}, "data": {"fingerprint": "a"}}).close()
    open_runs(tmp_path / "runs", {"config": {}, "data": {"fingerprint": "a"}}).close()
    with pytest.raises(StudyError, match="was made with other photos than its study; remove it and start again"):
        open_runs(tmp_path / "runs", {"config": {}, "data": {"fingerprint": "b"}})


def test_what_a_process_left_that_was_killed_at_the_very_start_does_no_harm(tmp_path):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / ".lock").touch()
    (tmp_path / "runs" / ".study.json").write_text("{")
    open_runs(tmp_path / "runs", {"config": {}, "data": {}}).close()
    assert Study.open(tmp_path / "runs").trials == {}


def test_an_interruption_keeps_what_has_ended(digits_config, tmp_path, trainer):
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
