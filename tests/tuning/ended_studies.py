"""Studies whose trials have ended, for tests of what a search prints."""

from inat.study.study import Study
from tests.helpers import run_epochs


def study_of(directory, states, grid=()):
    study = Study.create(directory, {"data": {"classes": ["a", "b"]}, "grid": list(grid)})
    for state in states:
        trial = study.add_trial({"dropout": 0.2})
        if state != "failed":
            run_epochs(study, trial.trial_id, [0.5])
        study.end_trial(trial.trial_id, state, "ValueError: x" if state == "failed" else "")
    return study
