import pytest


def rows(*values):
    return [{"val": value, "epochs": 7} for value in values]


def test_the_gain_is_paired_by_seed(benchmark, capsys):
    module = benchmark("pace")
    found = {"planned": rows(0.5, 0.7), "paced": rows(0.52, 0.74), "known": rows(0.6, 0.6)}
    fields = dict(field.split("=") for field in module.table(2.0, found))
    assert (fields["f2_planned"], fields["f2_gain"]) == ("0.6000", "+3.00")
    assert float(fields["f2_low"]) < 3 < float(fields["f2_high"])
    assert "factor 2 known  : mean 0.6000, 7 epochs" in capsys.readouterr().out


@pytest.fixture
def run(benchmark, image_tree, tmp_path):
    """Runs one side of the benchmark on a few small images: 6 epochs are planned, which change after 2."""
    module = benchmark("pace")
    options = module.Options(data=image_tree(train=30, val=5), image_size=16, cache_dir=tmp_path, epochs=6)
    recipe = module.recipe_params(module.Images(options.data, 16, tmp_path), options.epochs)
    case = {"params": recipe, "epochs": 6, "after": 2, "seed": 1}
    return lambda side, factor, **changes: module.run(options, case | {"side": side, "factor": factor} | changes)


@pytest.mark.slow
def test_a_machine_that_becomes_slower_gives_all_sides_the_same_epochs(run):
    planned, paced = (run(side, 2.0) for side in ("planned", "paced"))
    assert (planned["epochs"], paced["epochs"]) == (4, 4)
    assert planned["units"] == paced["units"] == 6
    assert run("known", 2.0, epochs=4)["epochs"] == 4


@pytest.mark.slow
def test_a_machine_that_becomes_faster_gives_a_paced_training_more_epochs(run):
    assert run("planned", 0.5)["epochs"] == 6
    assert 8 <= run("paced", 0.5)["epochs"] <= 9
