import json
from pathlib import Path

import pytest


@pytest.fixture
def ablation(benchmark, monkeypatch):
    """The benchmark with trainings that take no time. AdamW is best at 2e-3, once at 5e-3; the recipe has 0.8."""
    module = benchmark("ablation")
    module.ran = []

    def train(script, *arguments):
        params = json.loads(arguments[arguments.index("--only") + 1])
        module.ran.append(params)
        rates = {1e-3: 0.5, 2e-3: 0.7, 5e-3: 0.75 if params["seed"] == 1 else 0.5}
        value = rates[params["learning_rate"]] if params["optimizer"] == "adamw" else 0.8 - params["depth"] / 10
        return json.dumps({"val": value, "curve": [value] * params["max_epochs"], "cpu": 10.0})

    recipe = {"optimizer": "muon", "learning_rate": 0.02, "depth": 0}
    monkeypatch.setattr(module, "in_fresh_process", train)
    monkeypatch.setattr(module, "recipe_params", lambda images, epochs: recipe)
    return module


def run(ablation, folder, **changes):
    options = ablation.Options(data=Path("photos"), parts=("optimizer", "depth"), keep=folder / "rows.jsonl", **changes)
    rows = ablation.run_all(options, folder)
    ablation.print_table(rows, options.epochs)
    return rows


def test_the_other_optimizer_has_its_best_rate(ablation, tmp_path, capsys):
    rows = run(ablation, tmp_path)
    assert list(rows) == ["whole", "optimizer", "depth"]
    assert [row["val"] for row in rows["optimizer"].values()] == [0.7, 0.7, 0.7]
    printed = capsys.readouterr().out
    assert "optimizer has the learning rate 0.002 (validation accuracies 0.001: 0.5000, 0.002: 0.7000, " in printed
    assert "optimizer_gain=+10 " in printed


def test_finished_trainings_are_not_repeated(ablation, tmp_path):
    run(ablation, tmp_path, seeds=1, rates=(1e-3,))
    assert len(ablation.ran) == 3
    run(ablation, tmp_path, seeds=1, rates=(1e-3, 2e-3))
    assert len(ablation.ran) == 4


def test_an_unknown_part_is_refused(ablation):
    with pytest.raises(SystemExit, match="unknown part 'width'; choose --parts from optimizer, pooling, "):
        ablation.check(ablation.Options(data=Path("photos"), parts=("width",)))
