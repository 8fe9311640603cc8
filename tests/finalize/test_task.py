import dataclasses

import pytest

from inat.config.finetune import FinetuneConfig
from inat.config.search import SearchConfig
from inat.errors import ConfigError, DataError, InatError, SearchError, StudyError
from inat.finalize.options import FinalizeCommand, retraining_config
from inat.finalize.task import plan
from inat.study.study import Study
from tests.finalize.conftest import PARAMS, make_study
from tests.helpers import change_info


def planned(directory, **options):
    study = Study.open(directory)
    try:
        return plan(FinalizeCommand(study=directory, **options), study)
    finally:
        study.close()


def test_all_seeds_of_a_configuration_come_before_the_next_configuration(digits_study):
    task = planned(digits_study, top=2, seeds=2)
    assert [(p["activation"], p["seed"]) for p in task.wanted] == [("relu", 1), ("relu", 2), ("mish", 1), ("mish", 2)]
    assert [config.max_epochs for config in task.configs] == [3, 3]
    assert not task.test_data(task.trials[0]).use_augmentation


def test_only_patience_stops_a_run_early(digits_study):
    config = planned(digits_study).config
    assert config.grace_period == config.max_epochs == 3
    assert (config.time_budget, config.target, config.wandb) == (None, None, "off")


def test_given_options_replace_those_of_the_study(digits_study, tmp_path):
    config = planned(digits_study, cache_dir=tmp_path / "elsewhere", max_concurrent=1, gpus_per_trial=0.0).config
    assert (config.cache_dir, config.max_concurrent, config.gpus_per_trial) == (tmp_path / "elsewhere", 1, 0.0)
    assert config.precision == "32-true"


@pytest.mark.parametrize(("name", "value"), [("top", 0), ("seeds", -1)])
def test_numbers_below_one_are_refused(tmp_path, name, value):
    with pytest.raises(ConfigError, match=f"{name} must be positive, got {value}"):
        FinalizeCommand(study=tmp_path, **{name: value})


def test_top_above_the_number_of_configurations_is_refused(digits_study):
    with pytest.raises(ConfigError, match="--top 4 is more than the 3 different configurations with a result"):
        planned(digits_study, top=4)


def test_a_study_without_a_completed_trial_is_refused(tmp_path, digits_config):
    study = make_study(tmp_path / "study", digits_config, (PARAMS, 0.5, "failed"))
    with pytest.raises(SearchError, match="no trial of .* has a result"):
        planned(study)


def test_missing_or_other_photos_are_refused(tmp_path, digits_config, image_tree):
    photos = image_tree()
    config = dataclasses.replace(digits_config, data=str(photos))
    study = make_study(tmp_path / "study", config, (PARAMS, 0.5, "completed"))
    assert planned(study, top=1).trials
    moved = photos.rename(tmp_path / "moved")
    with pytest.raises(DataError, match="photos does not exist"):
        planned(study, top=1)
    assert planned(study, top=1, data=str(moved)).config.data == str(moved)
    next((moved / "val" / "bird").iterdir()).unlink()
    with pytest.raises(
        StudyError, match="moved differ from the photos that .* was made with; restore them, or pass --data"
    ):
        planned(study, top=1, data=str(moved))


def test_a_study_with_unknown_hyperparameters_is_refused(tmp_path, digits_config):
    study = make_study(tmp_path / "study", digits_config, ({"x": 1}, 0.5, "completed"))
    with pytest.raises(StudyError, match="trial t0000 of .* cannot be trained again: unknown hyperparameter 'x'"):
        planned(study, top=1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda info: info.pop("data"), "does not identify the photos of the study"),
        (lambda info: info.update(search="sideways"), "a study of unknown kind 'sideways'"),
        (lambda info: info.pop("config"), "has no configuration"),
        (lambda info: info["config"].update(wings=2), "unknown hyperparameter 'wings'"),
    ],
)
def test_a_damaged_study_is_reported_in_one_sentence(digits_study, change, message):
    change_info(digits_study, change)
    with pytest.raises(InatError, match=message):
        planned(digits_study)


def test_a_damaged_journal_is_reported(digits_study):
    with (digits_study / "journal.jsonl").open("a") as file:
        file.write("nothing\n")
    with pytest.raises(StudyError, match="journal.jsonl is damaged at line"):
        planned(digits_study)


def test_a_running_study_is_refused(digits_study):
    running = Study.open(digits_study)
    with pytest.raises(StudyError, match="is being run by another process; wait for it or stop it first"):
        planned(digits_study)
    running.close()


def test_a_missing_study_lists_the_existing_ones(digits_study):
    with pytest.raises(StudyError, match=f"no study in .*; there are: {digits_study}"):
        planned(digits_study.parent / "nothing")


def test_each_kind_of_search_gets_its_own_configuration(tmp_path):
    command = FinalizeCommand(study=tmp_path, weights_dir=tmp_path / "weights")
    fine = retraining_config({"search": "finetune", "config": FinetuneConfig().to_json()}, command)
    assert isinstance(fine, FinetuneConfig)
    assert fine.weights_dir == tmp_path / "weights"
    assert type(retraining_config({"config": SearchConfig().to_json()}, command)) is SearchConfig


def test_weights_that_have_changed_are_refused(tmp_path, image_tree, weights_dir):
    config = FinetuneConfig(data=str(image_tree()), image_size=32, backbones=("mobilenet_v2",), max_epochs=2,
                            weights_dir=weights_dir, cache_dir=tmp_path / "cache", grace_period=1)  # fmt: skip
    params = {"backbone": "mobilenet_v2", "strategy": "freeze_all", "k_layers": 1, "use_augmentation": False,
              "batch_size": 8, "learning_rate": 1e-2}  # fmt: skip
    study = make_study(tmp_path / "study", config, (params, 0.5, "completed"))
    change_info(study, lambda info: info.update(search="finetune", weights={"mobilenet_v2": "other"}))
    with pytest.raises(StudyError, match="the weights of mobilenet_v2 differ from the ones that the study began with"):
        planned(study, top=1, cache_dir=config.cache_dir, weights_dir=weights_dir)


@pytest.mark.parametrize("name", ["cache_dir", "weights_dir"])
def test_a_folder_that_only_the_study_names_is_not_used(tmp_path, name):
    config = FinetuneConfig().to_json() | {name: "/home/alice/.ssh"}
    info = {"search": "finetune", "config": config}
    with pytest.raises(StudyError, match=f"; add --{name.replace('_', '-')} /home/alice/.ssh$"):
        retraining_config(info, FinalizeCommand(study=tmp_path))
    command = FinalizeCommand(study=tmp_path, **{name: tmp_path / "mine"})
    assert getattr(retraining_config(info, command), name) == tmp_path / "mine"


@pytest.mark.parametrize("names", [("model", "model_sha256", "model_file"), ("cache_dir",), ("train_on_val",)])
@pytest.mark.parametrize("spaced", [True, False])
def test_no_trial_of_a_study_decides_which_code_runs_or_where(tmp_path, digits_config, names, spaced):
    params = PARAMS | dict.fromkeys(names, str(tmp_path))
    directory = make_study(tmp_path / "study", digits_config, (params, 0.9, "completed"))
    if spaced:
        space = {name: [value] for name, value in params.items()}
        change_info(directory, lambda info: info.update(space=space))
    message = (
        f"trial t0000 of .* cannot be trained again: its search has not chosen {', '.join(sorted(names))}; restore"
    )
    with pytest.raises(StudyError, match=message):
        planned(directory)
