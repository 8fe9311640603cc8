import json
from base64 import b64encode

import numpy as np
import pytest

from analysis.stats.best_epoch import best_epoch
from inat.constants import ANSWERS_JSON
from inat.finalize.candidates import collect_candidates
from inat.finalize.options import FinalizeCommand
from inat.finalize.shrinkage import best_epoch_optimism, shrinkage_sentences
from inat.finalize.task import plan
from inat.study.study import Study
from tests.helpers import run_epochs


@pytest.fixture
def task(digits_study):
    study = Study.open(digits_study)
    yield plan(FinalizeCommand(study=digits_study, top=1, seeds=2), study)
    study.close()


def finish_runs(task, rights, values=None):
    """Candidates whose runs have these answers (E, N), each in the best epoch; or other ``values`` than these."""
    runs = Study.create(task.study.directory / "final" / "retraining", {"config": {}})
    for number, (params, right) in enumerate(zip(task.wanted, rights, strict=True)):
        accuracies = right.mean(axis=1)
        trial_id = runs.add_trial(params).trial_id
        run_epochs(runs, trial_id, [accuracies.max() if values is None else values[number]])
        training = {
            "training": 1, "images": right.shape[1], "split": "a", "epochs": list(range(1, len(right) + 1)),
            "right": [b64encode(np.packbits(row)).decode() for row in right],
            "best_epoch": int(accuracies.argmax()) + 1, "predicted": [],
        }  # fmt: skip
        path = runs.checkpoint_dir(trial_id) / ANSWERS_JSON
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps({"format": 1, "trainings": [training]}))
    candidates = collect_candidates(runs, task.trials, 2)
    runs.close()
    return candidates[0]


def lucky(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).random((20, 300)) < 0.9


def test_one_line_says_what_part_of_the_best_score_is_the_best_epoch_and_what_part_the_best_of_all_trials(task):
    first = finish_runs(task, [lucky(1), lucky(2)])
    optimism = np.mean([best_epoch(lucky(seed)).optimism for seed in (1, 2)])
    assert 0.01 < optimism < 0.04
    dropped, parts = shrinkage_sentences(task, first)
    assert dropped.startswith(f"The best score of the search, 0.9900, dropped by {0.99 - first.mean:.4f}")
    assert parts == (
        f"Of the best score, {0.99 - first.mean:.4f} is the luck of the best of 4 trials, and about {optimism:.4f} is "
        "that of the best epoch, which new seeds have as well: it is chosen on the photos that measure it (estimated "
        f"from halves of them). Expect about {first.mean - optimism:.4f} on other photos."
    )


def test_longer_runs_say_nothing_about_the_best_of_all_trials(task):
    task.study.info["config"]["max_epochs"] = 2
    _, parts = shrinkage_sentences(task, finish_runs(task, [lucky(1), lucky(2)]))
    assert parts.startswith("Of the best score, about 0.0")


def test_answers_that_are_not_those_of_the_score_say_nothing(task):
    first = finish_runs(task, [lucky(1), lucky(2)], values=[0.5, 0.6])
    assert best_epoch_optimism(task, first) is None
    assert len(shrinkage_sentences(task, first)) == 1
