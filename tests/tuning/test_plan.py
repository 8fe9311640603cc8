import subprocess
import sys
from pathlib import Path

import pytest

from inat.finetune import FinetuneConfig
from inat.tuning import plan, spaces
from inat.tuning.cost import Network, Stage

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def measured(monkeypatch):
    from inat.models.backbones import stage_names

    asked = []

    def measure(backbone, size, num_classes, config):
        asked.append((backbone, size))
        return Network([Stage(1.0, 1000, 10)] * len(stage_names(backbone)), step_factor=3.0)

    monkeypatch.setattr(plan, "measure", measure)
    return asked


def rows_of(config: FinetuneConfig) -> list[plan.Row]:
    return plan.plan(config, spaces.space_of(config), photos=100, num_classes=10)


def test_the_rows_hold_every_trial_of_the_grid_and_measure_each_backbone_once(measured):
    config = FinetuneConfig(data="digits", backbones=("mobilenet_v2", "vgg16"), k_layers=(1, 2), image_size=64)
    rows = rows_of(config)
    assert measured == [("mobilenet_v2", 64), ("vgg16", 64)]
    assert len(rows) == 2 * 4
    assert {row.trials for row in rows} == {5 * 2 * 2}


def test_features_of_both_states_of_augmentation_are_counted(measured):
    config = FinetuneConfig(data="digits", backbones=("mobilenet_v2",), strategies=("freeze_all",), image_size=64)
    (row,) = rows_of(config)
    assert row.features == ((1 + 4) * 80 + 2 * 20) * 1000
    assert row.classic > row.trial
    (row,) = rows_of(FinetuneConfig(data="digits", backbones=("mobilenet_v2",), strategies=("freeze_all",), views=0,
                                    image_size=64))  # fmt: skip
    assert (row.features, row.trial) == (0, row.classic)


def test_a_cut_grid_and_a_sampler_have_as_many_trials_as_asked_for(measured):
    config = FinetuneConfig(data="digits", backbones=("mobilenet_v2",), num_samples=30, image_size=64)
    assert sum(row.trials for row in rows_of(config)) == 30
    config = FinetuneConfig(data="digits", backbones=("mobilenet_v2",), searcher="tpe", num_samples=50, image_size=64)
    rows = rows_of(config)
    assert sum(row.trials for row in rows) == pytest.approx(50)
    # A sampler draws the strategy first: as often unfreeze_all as all of freeze_partial.
    assert [row.trials for row in rows] == pytest.approx([50 / 3, 50 / 9, 50 / 9, 50 / 9, 50 / 3])


@pytest.mark.parametrize(
    ("seconds", "text"), [(2.34, "2.3 s"), (307, "5:07"), (7389, "2:03:09"), (3 * 86400 + 4 * 3600 + 300, "3d 04:05")]
)
def test_clock(seconds, text):
    assert plan.clock(seconds) == text


def test_the_command_prints_the_plan_and_runs_nothing(tmp_path):
    options = ["--data", "digits", "--backbones", "mobilenet_v2", "--image-size", "32", "--plan"]
    command = [sys.executable, str(ROOT / "tune_finetune.py"), *options]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=True)
    assert "100 trials" in done.stdout
    assert "freeze_partial k=3" in done.stdout
    assert "about" in done.stdout
    assert max(len(line) for line in done.stdout.splitlines() if "freeze" in line) <= 80
    assert not list(tmp_path.iterdir())
