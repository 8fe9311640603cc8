import json

import pytest
from ray import tune

from inat.errors import ConfigError
from inat.tuning.start import read_start

SPACE = {"dropout": tune.uniform(0.0, 0.5), "activation": tune.choice(["relu", "mish"])}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"dropout": 0.2}, [{"dropout": 0.2}]),
        ([{"dropout": 0.2, "activation": "mish"}, {}], [{"dropout": 0.2, "activation": "mish"}, {}]),
        ({"trial_id": "t0042", "best_val_acc": 0.9, "params": {"dropout": 0.1}}, [{"dropout": 0.1}]),
    ],
)
def test_one_configuration_a_list_or_the_best_of_another_study(tmp_path, content, expected):
    (tmp_path / "start.json").write_text(json.dumps(content))
    assert read_start(tmp_path / "start.json", SPACE) == expected


def test_no_file_no_configurations():
    assert read_start(None, SPACE) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "start.json cannot be read"),
        ("[1]", "must hold an object of hyperparameters, or a list of them"),
        ('{"dropuot": 0.2}', "unknown hyperparameter 'dropuot'; did you mean 'dropout'"),
        ('{"dropout": 0.9}', r"dropout 0.9 is outside the space \(\(0.0, 0.5\)\)"),
        ('{"dropout": "high"}', "dropout 'high' is outside the space"),
        ('{"activation": "tanh"}', r"activation 'tanh' is outside the space \(\['relu', 'mish'\]\)"),
    ],
)
def test_mistakes_are_named(tmp_path, text, message):
    (tmp_path / "start.json").write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_start(tmp_path / "start.json", SPACE)
    with pytest.raises(ConfigError, match="nowhere.json cannot be read"):
        read_start(tmp_path / "nowhere.json", SPACE)
