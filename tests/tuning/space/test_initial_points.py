import json

import pytest
from ray import tune

from inat.errors import ConfigError
from inat.tuning.space.initial_points import read_initial_points

SPACE = {"dropout": tune.uniform(0.0, 0.5), "activation": tune.choice(["relu", "mish"])}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"dropout": 0.2}, [{"dropout": 0.2}]),
        ([{"dropout": 0.2, "activation": "mish"}, {}], [{"dropout": 0.2, "activation": "mish"}, {}]),
        ({"trial_id": "t0042", "best_val_acc": 0.9, "params": {"dropout": 0.1}}, [{"dropout": 0.1}]),
    ],
)
def test_a_file_holds_one_configuration_a_list_or_a_best_json(tmp_path, content, expected):
    (tmp_path / "start.json").write_text(json.dumps(content))
    assert read_initial_points(tmp_path / "start.json", SPACE) == expected


def test_the_best_of_a_last_training_starts_a_search_with_another_batch_size(tmp_path):
    space = SPACE | {"batch_size": tune.choice([32, 64, 128])}
    best = {"trial_id": "t0000", "params": {"batch_size": 256, "dropout": 0.75, "activation": "relu"}}
    (tmp_path / "best.json").write_text(json.dumps(best))
    with pytest.raises(ConfigError, match=r"batch_size 256 is outside the space .*; .*dropout 0.75 is outside"):
        read_initial_points(tmp_path / "best.json", space)
    (tmp_path / "best.json").write_text(json.dumps(best | {"last_training": True}))
    nearest = {"batch_size": 128, "dropout": 0.5, "activation": "relu"}
    assert read_initial_points(tmp_path / "best.json", space) == [nearest]


STEPS = {
    "dropout": tune.quniform(0, 0.5, 0.1), "n": tune.randint(2, 5), "rate": tune.loguniform(1e-4, 1e-1),
    "conv_layers": tune.choice([2, 3]), "batch_norm": tune.choice([True, False]), "width": tune.qrandint(8, 32, 8),
}  # fmt: skip


@pytest.mark.parametrize(
    ("wanted", "params"),
    [
        ({"conv_layers": 3.0}, {"conv_layers": 3}),
        ({"n": 4.0, "width": 32}, {"n": 4, "width": 32}),
        ({"dropout": 0, "rate": 0.1}, {"dropout": 0.0, "rate": 0.1}),
        ({"batch_norm": 1}, {"batch_norm": True}),
    ],
)
def test_values_are_converted_to_the_types_of_the_space(tmp_path, wanted, params):
    (tmp_path / "start.json").write_text(json.dumps(wanted))
    (found,) = read_initial_points(tmp_path / "start.json", STEPS)
    assert found == params
    assert [type(value) for value in found.values()] == [type(value) for value in params.values()]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"dropout": 0.25}', r"dropout 0.25 is outside the space \(\(0.0, 0.5\) in steps of 0.1\)"),
        ('{"n": 5}', r"n 5 is outside the space \(\(2, 4\)\)"),
        ('{"n": 2.5}', "n 2.5 is outside the space"),
        ('{"n": true}', "n True is outside the space"),
        ('{"width": 12}', r"width 12 is outside the space \(\(8, 32\) in steps of 8\)"),
        ('{"rate": "0.01"}', "rate '0.01' is outside the space"),
        ('{"rate": NaN}', "rate nan is outside the space"),
        ('{"rate": -1}', "rate -1 is outside the space"),
        (f'{{"rate": 1{"0" * 400}}}', "rate 10*0 is outside the space"),
        ('{"conv_layers": [3]}', r"conv_layers \[3\] is outside the space \(\[2, 3\]\)"),
        ('[{"n": 9}, {"n": 9, "x": 1}]', r"n 9 is outside the space \(\(2, 4\)\); .*unknown hyperparameter 'x'"),
    ],
)
def test_values_outside_the_space_are_refused(tmp_path, text, message):
    (tmp_path / "start.json").write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_initial_points(tmp_path / "start.json", STEPS)


def test_without_a_file_there_are_no_configurations():
    assert read_initial_points(None, SPACE) == []


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
def test_mistakes_in_the_file_are_named(tmp_path, text, message):
    (tmp_path / "start.json").write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_initial_points(tmp_path / "start.json", SPACE)
    with pytest.raises(ConfigError, match="nowhere.json cannot be read"):
        read_initial_points(tmp_path / "nowhere.json", SPACE)
