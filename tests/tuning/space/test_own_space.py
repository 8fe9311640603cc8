import pytest

from inat.config.finetune import FinetuneConfig
from inat.config.search import SearchConfig
from inat.errors import ConfigError
from inat.tuning.space.own_space import strategies_of
from inat.tuning.space.presets import scratch_space, space_of
from tests.own_networks import MODULE, PLAIN, STAGED, allowed, write_net


def space(folder, text: str, function: str = "build", kind=SearchConfig, **options):
    file = allowed(write_net(folder, text), function)
    return space_of(kind(data="digits", image_size=8, model=f"{file.path}:{function}", **options))


def test_the_training_of_the_preset_joins_the_arguments_of_the_network(tmp_path):
    found = space(tmp_path, PLAIN)
    assert list(found) == ["width", "batch_size", "learning_rate", "use_augmentation"]
    assert found["batch_size"].categories == scratch_space()["batch_size"].categories
    assert (found["learning_rate"].lower, found["learning_rate"].upper) == (1e-3, 1e-2)  # of the file
    assert found["width"].categories == [4, 8]


def test_an_argument_with_a_default_and_no_domain_is_no_hyperparameter(tmp_path):
    assert "dropout" not in space(tmp_path, PLAIN)


def test_the_modern_preset_brings_its_training_only(tmp_path):
    found = space(tmp_path, STAGED, space="modern")
    assert {"schedule", "weight_decay", "mixup_alpha", "ema_decay", "augmentation_policy"} <= found.keys()
    assert not {"pooling", "stem_filters", "stem_stride", "depth"} & found.keys()


def test_the_learning_rate_of_a_network_of_the_user_may_be_a_tenth_of_that_of_the_recipe(tmp_path):
    found = space(tmp_path, STAGED, space="modern")
    recipe = space_of(SearchConfig(data="digits", image_size=8, space="modern"))["learning_rate"]
    assert found["learning_rate"].lower == pytest.approx(recipe.lower / 10)
    assert found["learning_rate"].upper == recipe.upper


def test_a_space_file_wins_over_the_file_of_the_network(tmp_path):
    path = tmp_path / "my_space.py"
    path.write_text("def space():\n    return {'width': 16, 'batch_size': 32, 'dropout': 0.3, 'learning_rate': 0.02}\n")
    found = space(tmp_path, PLAIN, space=str(path))
    assert {name: domain.categories for name, domain in found.items()} == {
        "width": [16], "learning_rate": [0.02], "batch_size": [32], "dropout": [0.3],
    }  # fmt: skip


def test_fine_tuning_has_strategies_if_the_file_has_stages(tmp_path):
    found = space(tmp_path, STAGED, kind=FinetuneConfig, k_layers=(1,))
    assert strategies_of(found) == [("freeze_all", None), ("freeze_partial", 1), ("unfreeze_all", None)]
    assert "backbone" not in found
    assert (found["body_lr_factor"].lower, found["body_lr_factor"].upper) == (0.1, 1.0)
    chosen = space(tmp_path, STAGED, kind=FinetuneConfig, k_layers=(1,), body_lr_factor=0.3)
    assert "body_lr_factor" not in chosen
    plain = space(tmp_path, PLAIN, kind=FinetuneConfig)
    assert "body_lr_factor" not in plain
    assert not {"strategy", "k_layers", "backbone"} & plain.keys()
    assert strategies_of(plain) == []


def test_a_lightning_module_has_what_it_takes_and_nothing_without_effect(tmp_path):
    assert list(space(tmp_path, MODULE, "MyModule")) == ["batch_size", "learning_rate", "use_augmentation"]
    with pytest.raises(ConfigError, match="class_weights has no effect: MyModule"):
        space(tmp_path, MODULE, "MyModule", class_weights="balanced")
    modern = space(tmp_path, MODULE, "MyModule", space="modern")
    assert not {"weight_decay", "mixup_alpha", "label_smoothing", "schedule"} & modern.keys()
    path = tmp_path / "my_space.py"
    path.write_text("def space():\n    return {'batch_size': 32, 'weight_decay': 0.1}\n")
    with pytest.raises(ConfigError, match="weight_decay has no effect: MyModule.. of my_net.py trains itself; "):
        space(tmp_path, MODULE, "MyModule", space=str(path))
