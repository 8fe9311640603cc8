import json
import math
from pathlib import Path

import pytest
from ray import tune

from inat.config.search import SearchConfig
from inat.constants import VAL_LOSS
from inat.errors import ConfigError, StudyError
from inat.study.study import Study
from inat.tuning.earlier.lessons import LEARNED_FROM, MOST, describe_learning, learn
from tests.analysis.readers.tune_writer import write_experiment
from tests.helpers import run_epochs

SPACE = {
    "learning_rate": tune.loguniform(1e-3, 1e-1),
    "conv_layers": tune.choice([3, 4]),
    "dropout": tune.choice([0.0, 0.2]),
}
INFO = {"config": {}, "data": {"fingerprint": "photos", "classes": []}}


def earlier(directory: Path, trials: list[tuple[dict, list[float], str]], info: dict | None = None) -> str:
    """A study with trials of these hyperparameters, values and states; returns its path."""
    study = Study.create(directory, INFO if info is None else info)
    for params, values, state in trials:
        trial_id = study.add_trial(params).trial_id
        run_epochs(study, trial_id, values)
        if state != "running":
            study.end_trial(trial_id, state)
    study.close()
    return str(directory)


def lessons_of(*paths: str, space: dict = SPACE, **options):
    found = learn(SearchConfig(data="digits", learn_from=paths, **options), space, "photos")
    assert found is not None
    json.dumps(found.record)  # study.json can hold it
    return found


def params(rate: float, layers: int = 3, **others) -> dict:
    return {"learning_rate": rate, "conv_layers": layers, **others}


def test_without_the_option_nothing_is_learned():
    assert learn(SearchConfig(data="digits"), SPACE, "photos") is None


def test_the_best_configuration_comes_first_and_all_ended_trials_are_the_prior(tmp_path):
    path = earlier(tmp_path / "a", [
        (params(0.01), [0.5], "completed"),
        (params(0.02), [0.9], "completed"),
        (params(0.03), [0.7], "completed"),
        (params(0.04), [0.6], "stopped"),
        (params(0.05), [0.99], "failed"),
        (params(0.06), [0.98], "running"),
        (params(0.07), [], "failed"),
    ])  # fmt: skip
    found = lessons_of(path)
    assert found.first == [params(0.02)]
    assert [(trial["rank"], trial["params"]["learning_rate"]) for trial in found.record["trials"]] == [
        (0.8, 0.02), (0.6, 0.03), (0.4, 0.04), (0.2, 0.01),
    ]  # fmt: skip
    (described,) = found.record["studies"]
    assert described == {
        "path": path, "trials": 4, "failed": 2, "objective": "accuracy", "ranked_by": "accuracy", "unit": "epoch",
        "same_images": True, "not_in_space": [], "outside": {},
    }  # fmt: skip
    assert describe_learning({LEARNED_FROM: found.record}, "tpe") == [
        f"learn   from {path}: 4 trials, ranked by accuracy"
    ]


def test_values_and_hyperparameters_outside_the_space_are_left_out_and_named(tmp_path):
    path = earlier(tmp_path / "a", [
        (params(0.5, 3.0, activation="relu"), [0.9], "completed"),
        (params(0.7, 5, activation="gelu"), [0.8], "completed"),
        (params(0.6, 4), [0.7], "completed"),
        (params(0.8, 4), [0.6], "completed"),
    ], {"config": {}, "data": {"fingerprint": "others", "classes": []}})  # fmt: skip
    found = lessons_of(path)
    assert found.first == [{"conv_layers": 3}]
    assert describe_learning({LEARNED_FROM: found.record}, "gp") == [
        f"learn   from {path}: 4 trials, ranked by accuracy; of other images; left out: activation, conv_layers 5, "
        "learning_rate 0.5, 0.6, 0.7 and 1 more",
        "learn   --searcher gp takes the best configuration only; tpe has a prior, too",
    ]


def test_the_best_of_each_study_comes_first_and_a_study_counts_once(tmp_path):
    first = earlier(tmp_path / "a", [(params(0.01 * n), [0.1 * n], "completed") for n in (1, 2, 3)])
    second = earlier(tmp_path / "b", [(params(0.05), [0.01], "completed")])
    found = lessons_of(first, second, f"{first}/../a")
    assert found.first == [params(0.03), params(0.05)]
    assert [study["path"] for study in found.record["studies"]] == [first, second]


def test_trials_are_ranked_by_the_metric_of_this_search(tmp_path):
    directory = tmp_path / "a"
    study = Study.create(directory, INFO)
    for rate, losses in ((0.01, [0.5, 0.9]), (0.02, [0.7, 0.6]), (0.03, [math.nan, math.nan])):
        trial_id = study.add_trial(params(rate)).trial_id
        for epoch, loss in enumerate(losses, start=1):
            study.add_epoch(trial_id, {"epoch": epoch, "best_val_acc": 1 - rate, VAL_LOSS: loss})
        study.end_trial(trial_id, "completed")
    study.close()
    found = lessons_of(str(directory), metric="val_loss")
    assert [trial["params"]["learning_rate"] for trial in found.record["trials"]] == [0.01, 0.02, 0.03]
    assert [trial["rank"] for trial in found.record["trials"]] == [0.75, 0.5, 0.25]
    (line,) = describe_learning({LEARNED_FROM: found.record}, "tpe")
    assert line.endswith("3 trials, ranked by val_loss; it optimised accuracy")
    with pytest.raises(ConfigError, match="has not recorded --metric macro_f1; leave it out"):
        lessons_of(str(directory), metric="macro_f1")


def test_of_a_large_study_the_best_trials_and_some_of_the_others_are_kept(tmp_path):
    values = [n / 1000 for n in range(300)]
    path = earlier(tmp_path / "a", [(params(0.001 + v / 10), [v], "completed") for v in values])
    ranks = [trial["rank"] for trial in lessons_of(path).record["trials"]]
    assert len(ranks) == MOST
    assert ranks == sorted(ranks, reverse=True)
    assert ranks[:50] == [round((300 - n) / 301, 4) for n in range(50)]
    assert ranks[-1] < 0.01


def test_studies_of_other_tools_can_be_learned_from(tmp_path):
    trials = [(0.01, 3, [0.2, 0.5]), (0.02, 4, [0.3, 0.9]), (0.03, 4, [0.1])]
    experiment = write_experiment(tmp_path / "tune", [
        {"config": params(rate, layers), "results": [{"val_acc": value} for value in values]}
        for rate, layers, values in trials
    ])  # fmt: skip
    rows = [f'"{n}","finished","{layers}","{rate}","{values[-1]}"' for n, (rate, layers, values) in enumerate(trials)]
    runs = tmp_path / "runs.csv"
    runs.write_text("\n".join(['"Name","State","conv_layers","learning_rate","val_acc"', *rows]))
    for path in (experiment, runs):
        found = lessons_of(str(path))
        assert found.first == [params(0.02, 4)]
        (described,) = found.record["studies"]
        assert (described["trials"], described["same_images"]) == (3, None)
        assert "images" not in describe_learning({LEARNED_FROM: found.record}, "tpe")[0]


@pytest.mark.parametrize(
    ("trials", "info", "message"),
    [
        ([], None, "has no ended trial with a result"),
        ([(params(0.02), [0.5], "failed")], None, "has no ended trial with a result"),
        ([({"activation": "relu"}, [0.5], "completed")], None, "has no hyperparameter with values of this search's"),
        ([(params(0.02), [0.5], "completed")], {**INFO, "search": "finetune"}, "is a study of tune_finetune.py"),
    ],
)
def test_a_study_that_teaches_nothing_is_refused(tmp_path, trials, info, message):
    path = earlier(tmp_path / "a", trials, info)
    with pytest.raises(ConfigError, match=message):
        lessons_of(path)


def test_a_folder_without_a_study_and_a_damaged_study_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read .*; pass a study directory"):
        lessons_of(str(tmp_path / "nowhere"))
    path = earlier(tmp_path / "a", [(params(0.02), [0.5], "completed")])
    (tmp_path / "a" / "journal.jsonl").write_text("{}\n")
    with pytest.raises(StudyError, match="is damaged"):
        lessons_of(path)


@pytest.mark.parametrize("searcher", ["random", "grid"])
def test_a_searcher_that_does_not_learn_is_refused(searcher):
    with pytest.raises(ConfigError, match=f"learn_from needs a searcher that learns, and {searcher} does not"):
        SearchConfig(data="digits", learn_from=("a",), searcher=searcher)
