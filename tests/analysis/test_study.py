import pytest

from analysis.study import load_study
from inat.study.study import Study


def test_frames_of_a_running_study(tmp_path):
    study = Study.create(tmp_path / "study", {"seed": 7})
    for i in range(3):
        trial = study.add_trial({"lr": 10.0**-i, "bn": i == 0})
        for epoch in range(1, i + 2):
            study.add_epoch(trial.trial_id, {"epoch": epoch, "best_val_acc": 0.1 * epoch, "val_acc": 0.1})
    study.end_trial("t0000", "completed")
    study.write_trials()
    loaded = load_study(study.directory)
    assert loaded.info["seed"] == 7
    assert list(loaded.trials["state"]) == ["completed", "running", "running"]
    assert loaded.trials["epochs"].tolist() == [1, 2, 3]
    assert loaded.trials["created"].dt.tz is not None
    assert len(loaded.history) == 6


def test_missing_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"not a study directory: it has no study.json, trials.csv"):
        load_study(tmp_path)
