"""The default of --k-layers follows the stages of the user's network; typed values do not."""

import pytest

from inat.cli import parse_search
from inat.config.finetune import FinetuneConfig
from inat.errors import ConfigError
from inat.models import own_code
from inat.tuning.own_model import describe_stages
from inat.tuning.own_stages import with_fitting_stages
from inat.tuning.task import check_task
from tests.own_networks import PLAIN, STAGED, write_net

TWO = STAGED.replace('"stem": model.stem, "block": nn.Sequential(', '"stem": nn.Sequential(model.stem, ')
FOUR = STAGED.replace("nn.Sequential(model.block, model.pool)", 'model.block, "pool": model.pool')


@pytest.fixture(autouse=True)
def nothing_named(monkeypatch):
    monkeypatch.setattr(own_code, "_named", {})


def config_of(folder, text, *options: str) -> FinetuneConfig:
    words = ["--data", "digits", "--image-size", "8", "--model", str(write_net(folder, text)), *options]
    return parse_search(FinetuneConfig, "", words)


@pytest.mark.parametrize(("text", "k_layers"), [(STAGED, (1,)), (FOUR, (1, 2)), (PLAIN, (1, 2, 3))])
def test_the_default_has_the_numbers_that_the_network_has(tmp_path, text, k_layers):
    fitted = with_fitting_stages(config_of(tmp_path, text))
    assert (fitted.k_layers, fitted.strategies) == (k_layers, ("freeze_all", "freeze_partial", "unfreeze_all"))
    assert with_fitting_stages(fitted) == fitted


def test_a_network_with_one_stage_before_its_head_leaves_freeze_partial_out(tmp_path):
    assert with_fitting_stages(config_of(tmp_path, TWO)).strategies == ("freeze_all", "unfreeze_all")


@pytest.mark.parametrize("options", [("--k-layers", "1", "2", "3"), ("--k-layers", "2")])
def test_typed_numbers_are_refused_if_they_do_not_fit(tmp_path, options):
    with pytest.raises(ConfigError, match="k_layers"):
        check_task(config_of(tmp_path, STAGED, *options))


def test_a_typed_strategy_is_refused_if_the_network_has_too_few_stages_for_it(tmp_path):
    with pytest.raises(ConfigError, match="would train all 1 stages before the head"):
        check_task(config_of(tmp_path, TWO, "--strategies", "freeze_partial", "freeze_all"))


def test_the_task_of_a_search_has_the_fitting_numbers(tmp_path):
    task = check_task(config_of(tmp_path, STAGED))
    assert isinstance(task.config, FinetuneConfig)
    assert (task.config.k_layers, list(task.space["k_layers"].categories), task.own_stages) == ((1,), [1], 3)


def test_a_space_in_the_file_decides_for_itself(tmp_path):
    text = f"{STAGED}\ndef space():\n    from ray import tune\n    return {{'k_layers': tune.choice([1])}}\n"
    assert with_fitting_stages(config_of(tmp_path, text)).k_layers == (1, 2, 3)


@pytest.mark.parametrize(("stages", "space", "line"), [
    (3, {"strategy": ["freeze_partial"], "k_layers": [1]}, "it has 2 stages before the head: --k-layers 1"),
    (2, {"strategy": ["freeze_all"]}, "it has 1 stage before the head: freeze_partial is left out"),
    (9, {"strategy": ["freeze_partial"], "k_layers": [1, 2, 3]}, ""),
    (0, {"width": [1]}, ""),
])  # fmt: skip
def test_the_numbers_are_told(stages, space, line):
    assert describe_stages(stages, space) == line
