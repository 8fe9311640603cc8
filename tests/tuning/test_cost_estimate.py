import subprocess
import sys

import pytest

from inat.config.finetune import FinetuneConfig
from inat.tuning import cost_estimate
from inat.tuning.cost_estimate import Cost, Network, Photos, Stage, cost_of
from inat.tuning.space import presets
from tests.paths import ROOT


@pytest.fixture
def measured(monkeypatch):
    from inat.models.backbones import stage_names

    asked = []

    def measure(backbone, size, num_classes, config):
        asked.append((backbone, size))
        return Network([Stage(1.0, 1000, 10)] * len(stage_names(backbone)), step_factor=3.0)

    monkeypatch.setattr(cost_estimate, "measure", measure)
    return asked


def rows_of(config: FinetuneConfig) -> list[cost_estimate.Row]:
    return cost_estimate.plan(config, presets.space_of(config), photos=100, num_classes=10)


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
    assert cost_estimate.clock(seconds) == text


def test_the_command_prints_the_plan_and_runs_nothing(tmp_path):
    options = ["--data", "digits", "--backbones", "mobilenet_v2", "--image-size", "32", "--plan"]
    command = [sys.executable, str(ROOT / "tune_finetune.py"), *options]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=True)
    assert "100 trials" in done.stdout
    assert "freeze_partial k=3" in done.stdout
    assert "about" in done.stdout
    assert max(len(line) for line in done.stdout.splitlines() if "freeze" in line) <= 80
    assert not list(tmp_path.iterdir())


# The last stage is the head.
NETWORK = Network([Stage(1.0, 100, 10), Stage(2.0, 50, 20), Stage(0.5, 8, 30)], step_factor=4.0)
PHOTOS = Photos(train=80, val=20)


def test_frozen_stages_run_once_for_each_view_and_the_others_in_every_epoch():
    cost = cost_of(NETWORK, 2, PHOTOS, epochs=10, views=4, most_bytes=1e9)
    pushed = 4 * 80 + 20
    assert cost == Cost(
        trainable=30,
        feature_bytes=pushed * 50,
        building=pushed * 3.0,
        trial=10 * (4 * 80 + 20) * 0.5,
        classic=10 * (4 * 80 + 20) * 0.5 + 10 * 100 * 3.0,
    )


@pytest.mark.parametrize(("frozen", "views", "most"), [(0, 4, 1e9), (2, 0, 1e9), (2, 4, 1000.0)])
def test_where_nothing_is_kept_a_trial_costs_what_it_always_did(frozen, views, most):
    cost = cost_of(NETWORK, frozen, PHOTOS, epochs=10, views=views, most_bytes=most)
    assert (cost.feature_bytes, cost.building) == (0, 0.0)
    assert cost.trial == cost.classic > 0


def test_the_whole_network_costs_a_backward_pass_through_all_stages():
    assert cost_of(NETWORK, 0, PHOTOS, epochs=1, views=4, most_bytes=1e9).trial == (4 * 80 + 20) * 3.5
