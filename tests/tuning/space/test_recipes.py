import pytest
from ray.tune.search.sample import Categorical

from inat.config.finetune import FinetuneConfig
from inat.config.trial import TrialConfig
from inat.tuning.space.domains import boundary_values
from inat.tuning.space.grid import grid_of
from inat.tuning.space.presets import space_of

MIXING = {"mixup_alpha", "cutmix_alpha"}


def test_a_sampler_chooses_the_modern_recipe_from_ranges():
    space = space_of(FinetuneConfig(data="photos"))
    ranges = {name: boundary_values(domain) for name, domain in space.items() if not isinstance(domain, Categorical)}
    assert ranges == {
        "learning_rate": (1e-4, 1e-2), "body_lr_factor": (0.1, 1.0), "layer_decay": (0.65, 1.0),
        "weight_decay": (1e-3, 0.3),
    }  # fmt: skip
    assert space["optimizer"].categories == ["adamw"]
    assert space["schedule"].categories == ["cosine"]


def test_mixing_is_searched_only_if_no_stage_is_frozen():
    assert not MIXING & space_of(FinetuneConfig(data="photos")).keys()
    assert space_of(FinetuneConfig(data="photos", strategies=("unfreeze_all", "lora"))).keys() >= MIXING


def test_a_grid_of_the_modern_recipe_has_one_value_of_each_part():
    options = {"backbones": ("mobilenet_v2",), "strategies": ("freeze_all", "lp_ft"), "learning_rates": (1e-3,)}
    grid = grid_of(space_of(FinetuneConfig(data="photos", searcher="grid", batch_sizes=(32,), **options)))
    assert [params["strategy"] for params in grid] == ["freeze_all", "lp_ft"]
    settings = FinetuneConfig(data="photos", **options).trial_settings()
    trial = TrialConfig.from_params({**settings, **grid[1]})
    assert (trial.optim.optimizer, trial.optim.schedule, trial.data.policy) == ("adamw", "cosine", "light")
    assert trial.model.body_rate == 1.0


@pytest.mark.parametrize(
    ("augmentation", "used", "policies"),
    [
        ("off", [False], None), ("on", [True], None), ("both", [False, True], None),
        ("light", [True], ["light"]), ("trivial", [True], ["trivial"]), ("auto", [False, True], ["light", "trivial"]),
    ],
)  # fmt: skip
def test_augmentation_on_the_command_line_becomes_hyperparameters(augmentation, used, policies):
    space = space_of(FinetuneConfig(data="photos", augmentation=augmentation))
    assert list(space["use_augmentation"].categories) == used
    found = space.get("augmentation_policy")
    assert (found and list(found.categories)) == policies


def test_the_published_recipe_tries_the_published_augmentation():
    space = space_of(FinetuneConfig(data="photos", recipe="published"))
    assert list(space["use_augmentation"].categories) == [False, True]
    assert "augmentation_policy" not in space
