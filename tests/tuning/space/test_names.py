from inat.config.finetune import FinetuneConfig
from inat.config.search import SearchConfig
from inat.tuning.space.names import hyperparameters
from inat.tuning.space.presets import finetune_space, scratch_space


def test_all_names_of_the_spaces_are_hyperparameters():
    scratch, finetune = SearchConfig(data="digits"), FinetuneConfig(data="photos")
    assert hyperparameters(scratch_space(), scratch) == scratch_space().keys()
    assert hyperparameters(finetune_space(finetune), finetune) == finetune_space(finetune).keys()
    assert hyperparameters({"body_lr_factor": [0.1]}, FinetuneConfig(data="photos", body_lr_factor=0.5))


def test_settings_that_trials_share_are_none():
    config = SearchConfig(data="digits")
    names = {"model", "model_file", "model_sha256", "driver_node", "known_epochs", "study_dir", "image_size"}
    assert hyperparameters({"dropout", *names, *config.trial_settings()}, config) == {"dropout"}
    assert "weights_dir" not in hyperparameters({"weights_dir"}, FinetuneConfig(data="photos"))
