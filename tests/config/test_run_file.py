import re
from dataclasses import fields
from pathlib import Path

import pytest
import yaml

from inat.cli import parse_search
from inat.config.finetune import FinetuneConfig
from inat.config.run_file import LEFT_OUT, read_run_file
from inat.config.run_text import chosen_values, example_text, run_text
from inat.config.search import SearchConfig
from inat.errors import ConfigError, StudyError
from inat.study.study import Study

KINDS = (SearchConfig, FinetuneConfig)


@pytest.fixture
def run_file(tmp_path):
    def write(text: str) -> str:
        (tmp_path / "run.yaml").write_text(text)
        return str(tmp_path / "run.yaml")

    return write


def parsed(*args: str, kind: type[SearchConfig] = SearchConfig) -> SearchConfig:
    return parse_search(kind, "", args)


def test_the_options_are_those_of_the_file_and_the_command_line_wins(run_file):
    file = run_file("data: digits\nnum_samples: 9\nstorage_path: out\nkeep_duplicates: true\n")
    config = parsed("--config", file, "--num-samples", "5", "--no-keep-duplicates")
    assert (config.data, config.num_samples, config.storage_path) == ("digits", 5, Path("out"))
    assert not config.keep_duplicates
    assert parsed("--num-samples", "5", "--config", file).num_samples == 5
    assert (
        SearchConfig.from_file(file, num_samples=5, keep_duplicates=False).to_json() | {"config": file}
        == config.to_json()
    )


def test_what_follows_from_other_options_follows_from_all_of_them_together(run_file):
    file = run_file("max_epochs: 2\n")
    assert parsed("--config", file).grace_period == 2
    assert parsed("--config", file, "--max-epochs", "9").grace_period == 3
    # Each alone is wrong.
    assert parsed("--config", run_file("grace_period: 5\n"), "--max-epochs", "5").grace_period == 5
    published = parsed("--config", run_file("recipe: published\n"), "--recipe", "modern", kind=FinetuneConfig)
    assert published == FinetuneConfig(config=Path(published.config))


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [("wandb: off", "wandb", "off"), ("target: 9e-1", "target", 0.9), ("target: null", "target", None),
     ("target: None", "target", None), ("target:", "target", None), ("time_budget: 12:30m", "time_budget", "12:30m"),
     ("seed: 010", "seed", 10), ("name: no", "name", "no"), ("data: '123'", "data", "123")],
)  # fmt: skip
def test_plain_values_are_what_they_look_like(run_file, text, name, value):
    assert read_run_file(Path(run_file(text)), SearchConfig).values == {name: value}


def test_lists_are_several_values(run_file):
    file = run_file("learning_rates: [1e-3, 1]\nbackbones:\n  - resnet50\n  - vgg16\n")
    config = parsed("--config", file, kind=FinetuneConfig)
    assert (config.learning_rates, config.backbones) == ((0.001, 1), ("resnet50", "vgg16"))


@pytest.mark.parametrize(
    ("text", "message"),
    [("data: x\nnum_sampels: 4", "{}, line 2: unknown option 'num_sampels'; did you mean 'num_samples'?"),
     ("num-samples: 4", "{}, line 1: unknown option 'num-samples'; did you mean 'num_samples'?"),
     ("xyz: 4", "{}, line 1: unknown option 'xyz'; `inat tune-scratch --help` lists the options"),
     ("1: 4", "{}, line 1: unknown option '1'; `inat"),
     ("plan: true", "{}, line 1: plan is an option of the command line only; leave it out here"),
     ("\nseed: 1\nseed: 2", "{}, line 3: seed is in line 2 already; remove one of them"),
     ("num_samples: many", "{}, line 1: num_samples must be a whole number or None, got 'many'"),
     ("# c\nmetric: acc", "{}, line 2: unknown metric 'acc'; choose from accuracy"),
     ("seed: 1\nnum_samples: -3", "{}, line 2: --num-samples must be positive, got -3"),
     ("space: huge", "{}, line 1: unknown space 'huge'; choose from"),
     ("data: [a", "{}, line 1: this is not YAML (expected ',' or ']', but got '<stream end>'); write `name: value`"),
     ("data: !!python/object:os.system x", "{}, line 1: this is not YAML (could not determine a constructor"),
     ("- data", "{} holds no options; write one per line, such as `data: photos`")],
)  # fmt: skip
def test_a_mistake_is_one_sentence_with_its_line(run_file, text, message):
    file = run_file(text)
    with pytest.raises(ConfigError) as error:
        parsed("--config", file)
    assert str(error.value).startswith(message.format(file))


def test_a_mistake_on_the_command_line_has_no_line_of_the_file(run_file):
    with pytest.raises(ConfigError, match="^--num-samples must be positive, got -1"):
        parsed("--config", run_file("num_samples: 4"), "--num-samples", "-1")


def test_a_file_that_does_not_exist_names_the_command_that_writes_one(tmp_path):
    with pytest.raises(ConfigError, match=r"does not exist; `inat new .*x\.yaml` writes an example"):
        parsed("--config", str(tmp_path / "x.yaml"))
    with pytest.raises(ConfigError, match="cannot be read"):
        parsed("--config", str(tmp_path))


def test_a_file_with_nothing_but_comments_gives_the_defaults(run_file):
    file = run_file("# data: digits\n")
    assert parsed("--config", file) == SearchConfig(config=Path(file))


def test_a_resumed_search_takes_the_changes_of_a_file(run_file, tmp_path):
    stored = SearchConfig(data="digits", image_size=16, num_samples=4, cache_dir=Path("/fast"))
    Study.create(tmp_path / "study", {"search": "scratch", "config": stored.to_json()}).close()
    resume = ("--resume", str(tmp_path / "study"), "--config")
    config = parsed(*resume, run_file("num_samples: 8\ncache_dir: /fast\n"))
    assert (config.data, config.num_samples, config.cache_dir) == ("digits", 8, Path("/fast"))
    with pytest.raises(StudyError, match="add --cache-dir /fast"):
        parsed(*resume, run_file("num_samples: 8\n"))
    with pytest.raises(ConfigError, match="--patience 9 differs from the study's 8"):
        parsed(*resume, run_file("patience: 9\ncache_dir: /fast\n"))


@pytest.mark.parametrize(
    "config",
    [SearchConfig(), SearchConfig(data="digits", max_epochs=2, wandb="off", target=0.9, time_budget="30m"),
     SearchConfig(storage_path=Path("~/x"), name="yes", num_samples=None, searcher="grid", group_by="a: #b"),
     FinetuneConfig(preset="fast"), FinetuneConfig(recipe="published", learning_rates=(1e-4,)),
     FinetuneConfig(grid="published", backbones=("resnet50", "timm:convnext_tiny.fb_in22k"))],
)  # fmt: skip
def test_a_file_that_is_written_gives_the_same_options(run_file, config):
    read = parsed("--config", run_file(run_text(config)), kind=type(config))
    assert read.to_json() | {"config": None} == config.to_json()


def test_only_what_somebody_chose_is_written():
    assert chosen_values(SearchConfig(data="digits", max_epochs=2)) == {"data": "digits", "max_epochs": 2}
    assert chosen_values(FinetuneConfig(grid="published")) == {"grid": "published"}
    assert yaml.safe_load(run_text(SearchConfig(target=1e-4))) == {"target": 1e-4}


@pytest.mark.parametrize("kind", KINDS)
def test_the_example_has_every_option_with_its_default(kind, run_file):
    text = example_text(kind, Path("run.yaml"))
    assert read_run_file(Path(run_file(text)), kind).values == {"data": "digits"}
    whole = re.sub(r"^# (?=\w+:(?: |$))(?!Options|---)", "", text, flags=re.MULTILINE)
    values = read_run_file(Path(run_file(whole)), kind).values
    assert set(values) == {field.name for field in fields(kind)} - LEFT_OUT - kind.UNUSED
    assert kind(**values).data_config() == kind(data="digits").data_config()
    assert {n: v for n, v in kind(**values).to_json().items() if n not in ("cache_dir", "data")} == {
        n: v for n, v in kind().to_json().items() if n not in ("cache_dir", "data")
    }


def test_the_completion_script_of_a_command_has_its_options(tmp_path):
    with pytest.raises(SystemExit) as ended:
        parsed("--tyro-write-completion", "bash", str(tmp_path / "script"))
    assert not ended.value.code
    assert "--num-samples" in (tmp_path / "script").read_text()
