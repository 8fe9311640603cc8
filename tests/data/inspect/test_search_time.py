from dataclasses import replace

import pytest
import torch

from inat.config.search import SearchConfig
from inat.data.inspect import search_time
from inat.data.inspect.search_time import EPOCHS_PER_TRIAL, estimate_search_time, seconds_per_image


def test_time_grows_with_trials_and_images(monkeypatch):
    monkeypatch.setattr(search_time, "seconds_per_image", lambda *_: 0.01)
    monkeypatch.setattr(search_time, "usable_cores", lambda: 2)
    monkeypatch.setattr(search_time, "kind", lambda: "cpu")
    found = estimate_search_time(SearchConfig(data="digits", num_samples=10), 10, 300, 90)
    assert found.seconds == pytest.approx(10 * EPOCHS_PER_TRIAL * 330 * 0.01 / 2)
    assert (found.trials, found.slots, found.device) == (10, 2, "2 cores")


@pytest.mark.parametrize("size", [2, 8, 32])
def test_any_image_size_can_be_measured(size, monkeypatch):
    monkeypatch.setattr(search_time, "MAX_STEPS", 1)
    assert seconds_per_image(SearchConfig(data="photos", image_size=size), 3, "cpu") > 0


def test_the_network_is_timed_in_the_arithmetic_that_was_measured_for_it(monkeypatch):
    used = []

    def autocast(precision, device):
        used.append(precision)
        return torch.autocast(device, enabled=False)

    monkeypatch.setattr(search_time, "MAX_STEPS", 1)
    monkeypatch.setattr(search_time, "autocast", autocast)
    monkeypatch.setattr(search_time, "settle_precision", lambda trial, record: replace(trial, precision="16-mixed"))
    seconds_per_image(SearchConfig(data="photos", image_size=16), 3, "cpu")
    assert set(used) == {"16-mixed"}
