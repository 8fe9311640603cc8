import pytest

from inat.constants import ANSWERS_JSON, BEST_CKPT, LAST_CKPT
from inat.study.checkpoint_retention import checkpoint_threshold, prune_checkpoints, trials_to_keep
from inat.study.study import Study
from tests.helpers import run_epochs


def add(study: Study, best: float, state: str | None) -> str:
    trial_id = study.add_trial({"x": best}).trial_id
    run_epochs(study, trial_id, [best])
    for name in (BEST_CKPT, LAST_CKPT):
        path = study.checkpoint_dir(trial_id) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("weights")
    if state:
        study.end_trial(trial_id, state)
    return trial_id


def test_only_the_best_and_the_running_trials_keep_their_checkpoints(study):
    ids = [add(study, best, state) for best, state in
           [(0.1, "stopped"), (0.9, "completed"), (0.5, "stopped"), (0.99, "failed"), (0.2, None)]]  # fmt: skip
    prune_checkpoints(study, keep=2)
    kept = {p.parent.name: p.name for p in study.directory.glob("checkpoints/*/*") if p.name == BEST_CKPT}
    assert set(kept) == {ids[1], ids[2], ids[4]}
    assert [p.parent.name for p in study.directory.glob(f"checkpoints/*/{LAST_CKPT}")] == [ids[4]]


def test_the_number_of_checkpoints_is_bounded_throughout_a_search(study):
    for i in range(40):
        add(study, (i * 7 % 40) / 40, "completed")
        prune_checkpoints(study, keep=3)
        assert len(list(study.directory.glob(f"checkpoints/*/{BEST_CKPT}"))) <= 3
    best = [t.trial_id for t in study.ranking()[:3]]
    assert sorted(p.parent.name for p in study.directory.glob(f"checkpoints/*/{BEST_CKPT}")) == sorted(best)


def test_incomplete_files_of_a_killed_process_are_removed_when_the_trial_has_ended(study):
    trial_id = add(study, 0.5, "completed")
    (study.checkpoint_dir(trial_id) / f".{BEST_CKPT}").write_text("half")
    prune_checkpoints(study, keep=1)
    assert [path.name for path in study.checkpoint_dir(trial_id).iterdir()] == [BEST_CKPT]


def test_the_users_folders_stay_and_folders_of_trials_that_are_not_in_the_journal_are_removed(study):
    add(study, 0.5, "completed")
    root = study.directory / "checkpoints"
    for name in ("t0000-copy", "mine", "t0001"):  # t0001 is not in the journal
        (root / name).mkdir()
        (root / name / LAST_CKPT).write_text("weights")
    (root / "notes.txt").write_text("the user's")
    prune_checkpoints(study, keep=1)
    assert {path.name for path in root.iterdir()} == {"t0000", "t0000-copy", "mine", "notes.txt"}


def test_the_threshold_is_the_accuracy_of_the_kth_best_trial(study):
    assert checkpoint_threshold(study, 2) is None
    for best in (0.4, 0.7, 0.6):
        add(study, best, "completed")
    assert checkpoint_threshold(study, 2) == 0.6


def test_the_answers_of_a_trial_stay_and_go_with_its_checkpoint(study):
    first, second = add(study, 0.5, "completed"), add(study, 0.6, "completed")
    for trial_id in (first, second):
        (study.checkpoint_dir(trial_id) / ANSWERS_JSON).write_text("{}")
    prune_checkpoints(study, keep=1)
    assert [path.parent.name for path in study.directory.glob(f"checkpoints/*/{ANSWERS_JSON}")] == [second]


def cost(study, value, parameters):
    trial_id = study.add_trial({}).trial_id
    run_epochs(study, trial_id, [value], trainable_parameters=parameters)
    study.end_trial(trial_id, "completed")
    return trial_id


def test_weights_of_a_cheaper_trial_that_may_be_chosen_are_kept_first(study):
    study.info["config"]["prefer_cheaper"] = 0.1
    small, best, *_ = [cost(study, *pair) for pair in ((0.72, 5), (0.8, 90), (0.79, 80), (0.78, 70), (0.5, 1))]
    assert [trial.trial_id for trial in trials_to_keep(study, 2)] == [small, best]
    assert [trial.trial_id for trial in trials_to_keep(study, 1)] == [small]
    assert checkpoint_threshold(study, 2) == pytest.approx(0.7)
    study.info["config"]["prefer_cheaper"] = "off"
    assert [trial.trial_id for trial in trials_to_keep(study, 1)] == [best]
    assert checkpoint_threshold(study, 2) == 0.79


def test_without_a_result_nothing_is_kept(study):
    assert trials_to_keep(study, 3) == []
