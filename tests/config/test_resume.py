import dataclasses
import warnings
from pathlib import Path

import pytest

from inat.cli import parse_search
from inat.config.finetune import FinetuneConfig
from inat.config.resume import (
    FIXED,
    FREE,
    NAMED,
    NEEDED,
    ONCE,
    RAISABLE,
    check_named,
    options_to_name,
    trusted,
    typed_options,
)
from inat.config.search import PATHS, SearchConfig
from inat.constants import CACHE_DIR
from inat.errors import ConfigError, StudyError
from inat.next_step import as_arguments
from inat.study.study import Study

KINDS = (SearchConfig, FinetuneConfig)
DEFAULTS = {f.name: f.default for kind in KINDS for f in dataclasses.fields(kind)}
# What a stranger may put into study.json, with the option that the user must type for it.
HOSTILE = {
    "address": "198.51.100.7:6379", "wandb": "online", "weights_dir": "/tmp/stranger", "cache_dir": "/home/alice/.ssh",
}  # fmt: skip


def study_with(directory: Path, kind: type[SearchConfig] = SearchConfig, **config) -> Path:
    stored = kind(data="digits", image_size=16).to_json() | config
    Study.create(directory, {"search": kind.KIND, "config": stored}).close()
    return directory


def resumed(directory: Path, *options: str, kind: type[SearchConfig] = SearchConfig) -> SearchConfig:
    return parse_search(kind, "", ["--resume", str(directory), *options])


def test_each_option_is_in_exactly_one_group():
    groups = (FIXED, RAISABLE, FREE, frozenset(NAMED), ONCE)
    assert {n: sum(n in group for group in groups) for n in DEFAULTS} == dict.fromkeys(DEFAULTS, 1)
    assert frozenset().union(*groups) == DEFAULTS.keys()


def test_no_folder_that_a_command_uses_is_taken_over_from_a_study():
    compared, read = {"storage_path", "start_from"}, {"labels", "root"}
    assert set(PATHS) <= NAMED.keys() | ONCE | compared | read
    assert {n: None if DEFAULTS[n] is None else str(DEFAULTS[n]) for n in NAMED} == NAMED


@pytest.mark.parametrize("kind", KINDS)
def test_what_remains_of_a_hostile_study_names_no_place_and_no_server(kind):
    values = HOSTILE | {"augment_preview": "/home/alice/.bashrc", "debug": True, "resume": "/x", "plan": True}
    names = {f.name for f in dataclasses.fields(kind)}
    config = trusted(kind.from_json({n: v for n, v in values.items() if n in names} | {"max_epochs": 9}))
    assert {n: getattr(config, n) for n in values if n in names} == {n: DEFAULTS[n] for n in values if n in names}
    assert config.max_epochs == 9


def test_a_picture_is_not_written_again_when_a_search_is_resumed(tmp_path):
    victim = tmp_path / "thesis.txt"
    study = study_with(tmp_path / "study", augment_preview=str(victim))
    assert resumed(study).augment_preview is None
    assert resumed(study, "--augment-preview", "x.png").augment_preview == Path("x.png")


@pytest.mark.parametrize("name", HOSTILE)
def test_a_place_or_server_that_only_the_study_names_is_refused(tmp_path, name):
    study = study_with(tmp_path / "study", FinetuneConfig, **{name: HOSTILE[name]})
    option = f"--{name.replace('_', '-')}"
    with pytest.raises(
        StudyError, match=f"names files, folders or servers outside of it.*; add {option} {HOSTILE[name]}$"
    ):
        resumed(study, kind=FinetuneConfig)
    assert str(getattr(resumed(study, option, HOSTILE[name], kind=FinetuneConfig), name)) == HOSTILE[name]
    other = {"wandb": "off"}.get(name, "/elsewhere")
    assert str(getattr(resumed(study, f"--{name}={other}", kind=FinetuneConfig), name)) == other


def test_a_study_with_the_defaults_needs_no_option_again(tmp_path):
    stored = SearchConfig().resolved().to_json()
    assert options_to_name(stored) == {}
    assert options_to_name(FinetuneConfig().resolved().to_json()) == {}
    assert options_to_name(stored | {"wandb": "offline"}) == {}
    assert resumed(study_with(tmp_path / "study", wandb="offline")).wandb == "offline"


def test_the_default_cache_of_another_machine_is_replaced_by_the_own_one(tmp_path):
    assert resumed(study_with(tmp_path / "study", cache_dir="/home/alice/.cache/inat")).cache_dir == CACHE_DIR


def test_options_are_written_as_they_are_typed():
    options = options_to_name({"space": "my space.py", "cache_dir": "/fast", "address": "auto", "max_epochs": 3})
    assert as_arguments(options) == "--space 'my space.py' --address auto --cache-dir /fast"
    assert typed_options(["--cache-dir", "/x", "--space=a=b.py", "--k_layers", "1"]) == {
        "cache_dir",
        "space",
        "k_layers",
    }


def test_each_missing_option_is_named_at_once(tmp_path):
    config = {"address": "auto", "cache_dir": "/fast", "space": "/a/space.py"}
    with pytest.raises(StudyError, match="add --space /a/space.py --cache-dir /fast$"):
        check_named(tmp_path, config, {"address"}, NEEDED)


WRONG = {
    "cache_dir": [None, [], 3, "a\0b"], "data": ["a\0b", 3], "image_size": [10**400, 5000, "x"],
    "wandb": [["online"], 1],
    "searcher": [None, "x", {}], "backbones": [3, None, [1]], "learning_rates": ["x", [None]], "seed": [10**400],
    "weights_dir": [3, []], "precision": [[]], "max_epochs": [10**400],
}  # fmt: skip


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WRONG.items() for value in values])
def test_a_value_of_another_type_in_a_study_is_one_sentence(tmp_path, name, value):
    study = study_with(tmp_path / "study", FinetuneConfig, **{name: value})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises((ConfigError, StudyError)):
            resumed(study, kind=FinetuneConfig)


@pytest.mark.parametrize("option", ["--data", "--cache-dir", "--resume", "--space"])
def test_the_home_of_nobody_is_one_sentence(option):
    value = "~nobody-has-this-name/x" + (".py" if option == "--space" else "")
    with pytest.raises(ConfigError, match="begins with the home of an unknown user; write the path in full"):
        parse_search(SearchConfig, "", [option, value]).resolved()


def test_too_large_images_are_refused():
    with pytest.raises(ConfigError, match="image_size must be at most 4096, got 10000000000"):
        SearchConfig(image_size=10_000_000_000)
