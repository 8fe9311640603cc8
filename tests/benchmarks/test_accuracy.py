import json
import os
import subprocess
from pathlib import Path

import pytest

from benchmarks.kept_rows import KeptRows


@pytest.fixture
def accuracy(benchmark, monkeypatch):
    """The benchmark with trainings that take no time: a learning rate of 1e-3 is the best for validation, not test."""
    module = benchmark("accuracy")
    module.ran = []

    def train(script, *arguments):
        case = json.loads(arguments[arguments.index("--only") + 1])
        module.ran.append(case)
        rate = case["params"].get("learning_rate", 0)
        good = {1e-4: 0.5, 3e-4: 0.6, 1e-3: 0.7, 3e-3: 0.6}.get(rate, 0.8) + 0.01 * case["seed"]
        return json.dumps({"val": good, "test": 1 - good, "seconds": 10.0 * case["seed"], "cpu": 10.0})

    monkeypatch.setattr(module, "in_fresh_process", train)
    monkeypatch.setattr(module, "recipe_params", lambda *_, **__: {"width": 16})
    return module


def compare(accuracy, kept, **changes):
    options = accuracy.Options(data=Path("photos"), seeds=3, **changes)
    return accuracy.compare(options, Path("photos"), 0, kept)


def test_rate_is_chosen_by_validation_accuracy(accuracy):
    found = compare(accuracy, KeptRows(None), sides=("published", "published_lr"))
    assert [row["val"] for row in found["published_lr"].values()] == pytest.approx([0.71, 0.72, 0.73])
    assert {case["params"]["learning_rate"] for case in accuracy.ran} == {1e-4, 3e-4, 1e-3, 3e-3}


def test_search_gets_the_time_of_eight_trainings_of_the_recipe(accuracy):
    found = compare(accuracy, KeptRows(None), sides=("recipe", "modern"), searches=1)
    assert [case["budget"] for case in accuracy.ran if case["kind"] == "modern"] == [160]  # 8 times the median of 20
    assert list(found["modern"]) == [1]


def test_a_search_in_another_time_is_not_the_same(accuracy, tmp_path):
    for seeds, budgets in ((1, [80]), (1, []), (3, [160])):  # the recipe takes 10, 20 and 30 seconds
        accuracy.ran = []
        options = accuracy.Options(data=Path("photos"), seeds=seeds, sides=("recipe", "modern"), searches=1)
        accuracy.compare(options, Path("photos"), 0, KeptRows(tmp_path / "rows.jsonl"))
        assert [case["budget"] for case in accuracy.ran if case["kind"] == "modern"] == budgets


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="the system gives all cores to every process")
def test_a_planned_search_sees_as_many_cores_as_the_other_sides_have_threads(accuracy, benchmark, monkeypatch):
    seen, before = [], os.sched_getaffinity(0)

    def run(command, **_):
        seen.append(len(os.sched_getaffinity(0)))
        return subprocess.CompletedProcess(command, 1, "", "")

    monkeypatch.setattr(benchmark("timed_search").subprocess, "run", run)
    options = accuracy.Options(data=Path("photos"), threads=1)
    for kind in ("budget", "modern"):
        with pytest.raises(SystemExit):
            accuracy.run(options, {"kind": kind, "params": {}, "seed": 1, "budget": 80})
    assert seen == [1, len(before)]
    assert os.sched_getaffinity(0) == before


def test_interrupted_benchmark_continues(accuracy, tmp_path):
    before = compare(accuracy, KeptRows(tmp_path / "rows.jsonl"), sides=("published", "plain_resnet"))
    done, accuracy.ran = accuracy.ran, []
    assert len(done) == 6
    assert compare(accuracy, KeptRows(tmp_path / "rows.jsonl"), sides=("published", "plain_resnet")) == before
    assert accuracy.ran == []
    compare(accuracy, KeptRows(tmp_path / "rows.jsonl"), sides=("published",), epochs=24)
    assert len(accuracy.ran) == 3


def test_gains_are_paired_and_in_points(accuracy, capsys):
    found = compare(accuracy, KeptRows(None), sides=("published", "recipe"))
    line = accuracy.result_line({0: found})
    assert line.startswith("result: published_val=0.52 ")
    assert "recipe_over_published=-30 recipe_over_published_low=-30" in line  # by test accuracy
    accuracy.print_table(found, 0)
    assert "-30.0 (-30.0 to -30.0, n=3) points of test accuracy over published" in capsys.readouterr().out


def test_search_without_its_recipe_is_refused(accuracy):
    with pytest.raises(SystemExit, match="needs side recipe"):
        accuracy.check(accuracy.Options(data=Path("photos"), sides=("modern",)))


def test_images_too_small_for_the_published_network_are_refused(accuracy):
    with pytest.raises(SystemExit, match="16 is below 32 px"):
        accuracy.check(accuracy.Options(data=Path("photos"), image_size=16))
