import pytest

from inat.config.trial import TrialConfig
from inat.tuning.network_timing import NetworkSpeed, measure_speeds, size_of

SMALL = {
    "data": "digits", "image_size": 32, "first_layer_filters": 4, "filter_org": 1, "conv_layers": 2,
    "activation": "relu", "dropout": 0.2, "batch_norm": True, "num_neurons_dense": 32,
    "learning_rate": 0.01, "batch_size": 64, "max_epochs": 2,
}  # fmt: skip


def config_of(**changes) -> TrialConfig:
    return TrialConfig.from_params(SMALL | changes)


def test_the_size_is_counted_by_hand():
    size = size_of(config_of(batch_norm=False), num_classes=10)
    convolutions = 32 * 32 * 9 * 3 * 4 + 16 * 16 * 9 * 4 * 4
    dense = 8 * 8 * 4 * 32 + 32 * 10
    assert size.operations == 2 * (convolutions + dense)
    assert size.parameters == (3 * 9 * 4 + 4) + (4 * 9 * 4 + 4) + (8 * 8 * 4 * 32 + 32) + (32 * 10 + 10)


def test_every_network_is_timed_and_a_larger_one_takes_longer():
    large = config_of(first_layer_filters=64, use_augmentation=True)
    small, larger = measure_speeds([config_of(), large], num_classes=10, seconds=0.5)
    assert 0 < small.train_image < larger.train_image
    assert small.val_image > 0
    assert small.start > 0


def test_images_of_a_large_network_are_timed_in_smaller_batches(monkeypatch):
    from inat.tuning import network_timing

    batches = []

    def measure(config, num_classes, batch, seconds):
        batches.append(batch)
        return NetworkSpeed(0.01, 0.0, 0.0)

    monkeypatch.setattr(network_timing, "_measure", measure)
    large = config_of(first_layer_filters=1024)
    measure_speeds([config_of(), config_of(batch_size=8), large, large], num_classes=10, seconds=3.0)
    assert batches == [16, 64, 8, 2, 64]  # a first look; then full batches, unless the last speed forbids it


def test_an_epoch_is_the_sum_over_its_images():
    assert NetworkSpeed(0.1, 0.02, 9.0).epoch(train=80, val=20) == pytest.approx(8.4)
