import json

import pytest
from ray import tune

from inat.config.backbones import FREEZE_ALL, FREEZE_PARTIAL, UNFREEZE_ALL
from inat.config.objective import ACCURACY, OBJECTIVES
from inat.study.trial import Trial
from inat.tuning.racing.waves import Waves, middle_of, next_params, rank_backbones

LOSS = OBJECTIVES["val_loss"]
SPACE = {
    "backbone": tune.choice(["good", "bad"]), "strategy": tune.choice([FREEZE_ALL, FREEZE_PARTIAL, UNFREEZE_ALL]),
    "k_layers": tune.choice([1, 2]), "use_augmentation": tune.choice([False, True]),
    "batch_size": tune.choice([32, 64]), "learning_rate": tune.loguniform(1e-4, 1e-2),
}  # fmt: skip
WAVES = Waves(
    [{"backbone": name, "strategy": FREEZE_PARTIAL, "k_layers": k} for name in ("bad", "good") for k in (1, 2)],
    ["bad", "good"],
    1,
)
VALUES = {"good": 0.9, "bad": 0.5}


def run(waves: Waves, count: int, values=VALUES, objective=ACCURACY, trials=()) -> list[Trial]:
    """The next ``count`` trials of a race whose backbones have these values, with 0.01 per unfrozen layer."""
    done = list(trials)
    for _ in range(count):
        params = {"strategy": UNFREEZE_ALL, "k_layers": 1} | next_params(waves, SPACE, done, objective)
        value = values[params["backbone"]]
        rows = [] if value is None else [{"epoch": 1, objective.best_column: value}]
        done.append(Trial(f"t{len(done):04d}", len(done), params, "", history=rows, objective=objective))
    return done


def test_the_race_trains_the_whole_network_of_the_better_backbone_and_goes_on_with_it():
    trials = run(WAVES, 8)
    assert [t.params["backbone"] for t in trials] == ["bad", "bad", "good", "good", "good", "good", "good", "good"]
    assert [t.params["strategy"] for t in trials[:5]] == [FREEZE_PARTIAL] * 4 + [UNFREEZE_ALL]
    assert next_params(WAVES, SPACE, trials, ACCURACY) == {"backbone": "good"}  # the sampler draws the rest


def test_a_lower_loss_wins():
    trials = run(WAVES, 6, {"good": 0.2, "bad": 1.5}, LOSS)
    assert trials[4].params["backbone"] == trials[5].params["backbone"] == "good"


def test_the_trials_of_the_waves_differ_only_in_what_they_compare():
    trials = run(WAVES, 5)
    assert {(trial.params["use_augmentation"], trial.params["batch_size"]) for trial in trials} == {(False, 32)}
    assert [trial.params["learning_rate"] for trial in trials] == pytest.approx([1e-3] * 5)


def test_a_resumed_race_goes_on_where_it_was():
    whole = run(WAVES, 7)
    again = Waves.from_json(json.loads(json.dumps(WAVES.to_json())))
    assert [t.params for t in run(again, 4, trials=whole[:3])] == [t.params for t in whole]


def test_a_backbone_whose_trials_fail_is_not_trained_whole():
    assert run(WAVES, 5, {"good": None, "bad": 0.5})[4].params["backbone"] == "bad"


def test_without_any_value_the_sampler_decides():
    assert next_params(WAVES, SPACE, run(WAVES, 4, {"good": None, "bad": None}), ACCURACY) == {}


def test_a_network_that_is_too_slow_to_train_whole_keeps_its_best_strategy():
    slow = Waves(WAVES.partial, ["bad"], 0)
    assert next_params(slow, SPACE, run(slow, 4), ACCURACY) == {
        "backbone": "good", "strategy": FREEZE_PARTIAL, "k_layers": 1,
    }  # fmt: skip


def test_backbones_are_ranked_by_their_best_trial():
    trials = run(WAVES, 4)
    assert rank_backbones(trials, ACCURACY) == ["good", "bad"]


@pytest.mark.parametrize(
    ("domain", "middle"),
    [(tune.uniform(0.0, 0.5), 0.25), (tune.randint(1, 9), 5), (tune.choice([1e-2, 1e-4, 1e-3]), 1e-3),
     (tune.choice([True, False]), True), (tune.choice(["step", "cosine"]), "step"), (tune.loguniform(1e-4, 1.0), 1e-2)],
)  # fmt: skip
def test_the_middle_of_a_hyperparameter(domain, middle):
    assert middle_of(domain) == pytest.approx(middle)
