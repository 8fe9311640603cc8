"""Studies of `--space modern`: the recipe is tried first, and a study keeps the space that it began with."""

import json
from dataclasses import replace

import pytest

from inat.config.search import SearchConfig
from inat.config.trial import TrialConfig
from inat.constants import RECIPE_PARAMS
from inat.data.splits import inspect_data
from inat.errors import StudyError
from inat.study.study import Study
from inat.tuning import search
from inat.tuning.progress import progress_of
from inat.tuning.provenance import study_info
from inat.tuning.sampling.samplers import STARTUP_TRIALS
from inat.tuning.space import scratch_recipe
from inat.tuning.space.domains import boundary_values
from inat.tuning.space.neighbours import FREED
from inat.tuning.space.presets import modern_space, space_of, space_to_json
from inat.tuning.task import check_task


@pytest.fixture
def config(tmp_path) -> SearchConfig:
    return SearchConfig(
        data="digits", image_size=16, space="modern", num_samples=2, max_epochs=12, storage_path=tmp_path, name="study"
    )


def opened(config: SearchConfig) -> tuple[dict, dict]:
    """What study.json of a new or a resumed study holds, and its space."""
    study, space = search.open_study(config)
    study.add_trial({})  # an empty study would be discarded
    study.close()
    return study.info, space_to_json(space)


def test_the_recipe_is_the_first_trial_and_study_json_names_it(config):
    info, space = opened(config)
    recipe = info[RECIPE_PARAMS]
    assert info["start_from"][0] == recipe
    assert recipe.keys() == space.keys()
    assert TrialConfig.from_params({**config.trial_settings(), **recipe}).optim.batch_size == recipe["batch_size"]


def test_configurations_near_the_recipe_come_next_until_the_sampler_has_enough_trials(config):
    info, _ = opened(config)
    recipe, *near = info["start_from"]
    assert len(near) == STARTUP_TRIALS - 1
    assert all(one.items() < recipe.items() and len(recipe) - len(one) == FREED for one in near)
    again, _ = opened(replace(config, seed=config.seed + 1, name="again"))
    assert again["start_from"][1:] != near
    without, _ = opened(replace(config, searcher="random", name="random"))
    assert without["start_from"] == [recipe]


def test_configurations_of_the_user_come_after_the_recipe(config, tmp_path):
    (tmp_path / "start.json").write_text('{"depth": 3}')
    info, _ = opened(replace(config, start_from=tmp_path / "start.json"))
    assert info["start_from"] == [info[RECIPE_PARAMS], {"depth": 3}]


def test_other_spaces_have_no_recipe(config):
    info, _ = opened(replace(config, space="small"))
    assert RECIPE_PARAMS not in info
    assert info["start_from"] == []


def test_a_resumed_study_keeps_its_space_when_the_rules_of_the_recipe_have_changed(config, tmp_path, monkeypatch):
    info, space = opened(config)
    monkeypatch.setattr(scratch_recipe, "RATE", 0.1)
    monkeypatch.setattr(scratch_recipe, "LAST_FILTERS", 64)
    resumed = replace(config, resume=tmp_path / "study", name=None)
    task = check_task(resumed)
    assert space_to_json(task.space) == space
    assert progress_of(task).wanted == 2
    again, kept = opened(resumed)
    assert kept == space
    assert again["start_from"] == info["start_from"]
    assert space_to_json(space_of(replace(config, name="other"))) != space


def test_a_study_of_the_earlier_modern_space_is_resumed_with_it(config, tmp_path):
    config = replace(config, image_size=32)  # the least size that it takes
    data = inspect_data(config.data_config())
    Study.create(tmp_path / "study", study_info(config, space_to_json(modern_space()), data)).close()
    resumed = replace(config, resume=tmp_path / "study", name=None)
    _, space = opened(resumed)
    assert space == space_to_json(modern_space())
    drawn = {name: boundary_values(domain)[0] for name, domain in check_task(resumed).space.items()}
    assert TrialConfig.from_params({**config.trial_settings(), **drawn}).model.conv_layers == 3


def test_a_study_without_a_space_is_damaged(config, tmp_path):
    opened(config)
    path = tmp_path / "study" / "study.json"
    info = json.loads(path.read_text())
    path.write_text(json.dumps({name: value for name, value in info.items() if name not in ("space", "digests")}))
    with pytest.raises(StudyError, match="has no space; restore it from a copy"):
        check_task(replace(config, resume=tmp_path / "study", name=None))
