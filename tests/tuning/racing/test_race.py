"""A race with probes and times of one line, and one with real networks on the built-in data."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest

from inat.config.finetune import FinetuneConfig
from inat.config.race import RACES
from inat.errors import ConfigError
from inat.tuning.backbone_timing import NetworkCost, StageCost
from inat.tuning.racing import probing, race
from inat.tuning.racing.probes import Candidate, Probe
from inat.tuning.racing.waves import Choice
from tests.paths import ROOT

SECONDS = {"mobilenet_v2": 2.0, "resnet50": 8.0, "vgg16": 500.0}
VALUES = {"mobilenet_v2": 0.6, "resnet50": 0.9, "vgg16": 0.99}


@pytest.fixture
def lines(monkeypatch) -> list[str]:
    """The printed lines of races in which a backbone takes SECONDS, its probe has VALUES, and training is quick."""

    def time_candidate(config, backbone):
        if backbone == "googlenet":
            raise ConfigError("no weights of googlenet (none are here); download U and put it into P")
        return Candidate(backbone, 32, 1_000, SECONDS[backbone])

    def probe(config, candidate):
        value = VALUES[candidate.backbone]
        return Probe(candidate.backbone, 32, 1_000, value - 0.1, value, value - 0.05, value + 0.05, 0.1, 1.0, 0.5)

    monkeypatch.setattr(probing, "time_candidate", time_candidate)
    monkeypatch.setattr(probing, "probe", probe)
    cost = NetworkCost([StageCost(1e-6, 4, 10)] * 25, 3.0)
    monkeypatch.setattr(race, "measure_backbone", lambda *args: cost)
    return []


def config(**changes) -> FinetuneConfig:
    settings = {"data": "digits", "image_size": 32, "preset": "fast", "weights": "none", "time_budget": "100s",
                "backbones": ("vgg16", "resnet50", "mobilenet_v2"), "k_layers": (1, 2)}  # fmt: skip
    return FinetuneConfig(**settings | changes)


def text_of(lines: list[object]) -> str:
    return "\n".join(str(line) for line in lines)


def test_the_known_better_of_two_leads_and_what_is_too_slow_is_left_out(lines):
    found = race.run_race(config(), lines.append)
    assert found.config.backbones == ("resnet50", "mobilenet_v2")
    assert found.record["chosen"] == ["resnet50", "mobilenet_v2"]
    assert found.record["waves"]["partial"][0] == {"backbone": "resnet50", "strategy": "freeze_all"}
    assert list(found.record["skipped"]) == ["vgg16"]
    assert "skipped vgg16: its features take about 8 min 20 s, which does not fit" in lines
    printed = [line for line in lines if str(line).startswith("probe   ")]
    assert ["mobilenet_v2" in printed[0], "resnet50" in printed[1]] == [True, True]  # from small to large


def test_a_backbone_without_weights_is_skipped_with_its_reason(lines):
    found = race.run_race(config(backbones=("googlenet", "mobilenet_v2")), lines.append)
    assert found.config.backbones == ("mobilenet_v2",)
    assert "skipped googlenet: no weights of googlenet (none are here); download U and put it into P" in lines


def test_without_any_backbone_the_reasons_are_one_error(lines):
    with pytest.raises(ConfigError, match="^no backbone can be probed: no weights of googlenet"):
        race.run_race(config(backbones=("googlenet",)), lines.append)


def test_a_budget_too_small_for_one_probe_is_refused(lines):
    with pytest.raises(ConfigError, match="time_budget 3 s is too short: features of mobilenet_v2"):
        race.run_race(config(time_budget="3s"), lines.append)


def test_the_budget_is_said_before_the_first_probe(lines):
    race.run_race(config(), lines.append)
    assert lines[0].startswith(
        "race    1 min 40 s: at most 30 s for probes, 25 s for frozen or partly frozen trials, 25 s"
    )
    assert "2 of 3 fit, about 10 s: mobilenet_v2 2 s, resnet50 8 s, vgg16 8 min 20 s" in lines[0]


def test_a_network_that_trains_too_slowly_is_not_trained_whole(lines, monkeypatch):
    slow = NetworkCost([*[StageCost(1.0, 4, 10)] * 24, StageCost(1e-6, 4, 10)], 3.0)
    monkeypatch.setattr(race, "measure_backbone", lambda *args: slow)
    found = race.run_race(config(), lines.append)
    assert found.config.strategies == ("freeze_all",)
    assert found.record["waves"]["full"] == 0
    assert "then    no whole network" in text_of(lines)
    assert "leaders resnet50: 1 frozen or partly frozen trial, " in text_of(lines)
    assert "; 5 more would take too long" in text_of(lines)


def test_strategies_that_train_every_stage_follow_where_the_whole_network_fits(lines, monkeypatch):
    strategies = ("freeze_all", "lora", "unfreeze_all", "lp_ft")
    assert race.run_race(config(strategies=strategies), lines.append).config.strategies == strategies
    slow = NetworkCost([*[StageCost(1.0, 4, 10)] * 24, StageCost(1e-6, 4, 10)], 3.0)
    monkeypatch.setattr(race, "measure_backbone", lambda *args: slow)
    assert race.run_race(config(strategies=strategies), lines.append).config.strategies == ("freeze_all",)


def test_a_plan_probes_nothing(lines, monkeypatch):
    monkeypatch.setattr(probing, "probe", None)
    race.print_race_plan(config(), lines.append)
    assert "2 of 3 fit" in text_of(lines)


@pytest.mark.parametrize(("left", "partial", "whole"), [(70.0, 4, 1), (8.0, 1, 0), (1000.0, 6, 1)])
def test_waves_fit_what_is_left(left, partial, whole):
    head, last, all_of_it = Choice("freeze_all"), Choice("freeze_partial", 1), Choice("unfreeze_all")
    costs = {name: {head: 2.0, last: 18.0, all_of_it: 25.0} for name in ("a", "b", "c")}
    waves, seconds = race.plan_waves(RACES["fast"], ["a", "b", "c"], costs, left, 10)
    assert (len(waves.partial), waves.full) == (partial, whole)
    assert waves.partial[0] == {"backbone": "a", "strategy": "freeze_all"}
    assert seconds["partial"] <= RACES["fast"].partial_of(left)
    assert seconds["full"] <= RACES["fast"].full_of(left - seconds["partial"])


def run(tmp_path: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "tune_finetune.py"), *options, "--cache-dir", str(tmp_path / "cache")]
    return subprocess.run(command, capture_output=True, text=True, timeout=600, check=False, cwd=tmp_path)


@pytest.mark.slow
@pytest.mark.long
def test_a_preset_is_one_study_that_resumes_without_probing_again(tmp_path):
    done = run(
        tmp_path, "--preset", "fast", "--time-budget", "20m", "--data", "digits", "--image-size", "8", "--weights",
        "none", "--backbones", "mobilenet_v2", "resnet50", "--k-layers", "1", "--max-epochs", "1", "--num-samples", "6",
        "--storage-path", str(tmp_path / "results"), "--name", "study",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    directory = tmp_path / "results" / "study"
    info = json.loads((directory / "study.json").read_text())
    with open(directory / "backbones.csv", newline="") as file:
        probes = list(csv.DictReader(file))
    assert [probe["backbone"] for probe in probes] == info["race"]["chosen"] == info["config"]["backbones"]
    with open(directory / "trials.csv", newline="") as file:
        trials = list(csv.DictReader(file))
    assert [trial["strategy"] for trial in trials[:5]].count("unfreeze_all") == 1
    assert {(trial["backbone"], trial["strategy"]) for trial in trials[:4]} == {
        (name, strategy) for name in info["race"]["chosen"] for strategy in ("freeze_all", "freeze_partial")
    }
    again = run(tmp_path, "--resume", str(directory), "--num-samples", "7")
    assert again.returncode == 0, again.stdout + again.stderr
    assert "probe   " not in again.stdout
    assert f"race    {', '.join(info['race']['chosen'])} chosen, see backbones.csv" in again.stdout
    assert "6 of them already ended" in again.stdout


def test_a_probe_that_seems_too_long_is_made_if_the_first_one_was_faster_than_expected(monkeypatch):
    made = []

    def probe(config, candidate):
        made.append(candidate.backbone)
        return Probe(candidate.backbone, 32, 1_000, 0.5, 0.5, 0.4, 0.6, 0.1, 0.1 * candidate.seconds, 0.0)

    monkeypatch.setattr(probing, "probe", probe)
    candidates = [Candidate(name, 32, 1_000, seconds) for name, seconds in [("a", 20.0), ("b", 90.0), ("c", 130.0)]]
    lines: list[object] = []
    probing.probe_all(config(), candidates, 60.0, lines.append, {})
    assert made == ["a", "b"]  # at the expected speed, b alone would take longer than the limit
    assert "skipped c: its features take about 2 min 10 s, which does not fit" in lines
