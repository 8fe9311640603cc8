"""Trainings that end in time, with their schedules; and through `fit`, on the digits."""

from dataclasses import replace

import pytest
import pytorch_lightning as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from inat.config.trial import TrialConfig
from inat.training.fit import fit
from inat.training.pace import MARGIN, Pace

STEPS = 10
SECONDS = st.lists(st.floats(0.2, 30.0), min_size=40, max_size=40)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def train(pace: Pace, clock: Clock, seconds: list[float], done: int = 0) -> list[float]:
    """The share of the schedule after each epoch of a training whose epochs take ``seconds``."""
    shares = []
    for taken in seconds:
        pace.begin_epoch(done, done * STEPS, STEPS)
        assert pace.share_at(done * STEPS) == pytest.approx(pace.share)
        shares.append(pace.share_at((done + 1) * STEPS))
        clock.now += taken
        done += 1
        over = pace.end_epoch(done)
        assert pace.share == pytest.approx(shares[-1])
        if over:
            return shares
    raise AssertionError("no end")


@settings(deadline=None)
@given(SECONDS, st.floats(5.0, 200.0), st.floats(0.2, 30.0))
def test_the_schedule_only_goes_forward_and_ends_with_the_training_or_too_late_for_another_epoch(
    seconds, ends, expected
):
    clock = Clock()
    shares = train(Pace(ends, expected, 40, clock), clock, seconds)
    assert all(0 < before < after for before, after in zip([1e-9, *shares], shares, strict=False))
    assert len(shares) <= 40
    assert shares[-1] == pytest.approx(1.0) or clock.now + min(seconds) > ends - MARGIN * max(seconds)


@settings(deadline=None)
@given(st.floats(0.5, 5.0), st.floats(20.0, 100.0), st.floats(0.5, 2.0))
def test_at_a_steady_speed_the_schedule_ends_in_time_however_wrong_the_expectation_was(seconds, ends, wrong):
    clock = Clock()
    shares = train(Pace(ends, wrong * seconds, 400, clock), clock, [seconds] * 400)
    assert clock.now <= ends
    assert shares[-1] == pytest.approx(1.0)
    assert clock.now > ends - (2 + MARGIN) * seconds - 0.1 * ends  # no more is left over than the margin


def test_an_epoch_that_takes_four_times_as_long_shortens_the_rest():
    clock = Clock()
    shares = train(Pace(100.0, 10.0, 40, clock), clock, [10.0, 40.0, 10.0, 10.0, 10.0, 10.0])
    assert shares[0] == pytest.approx(1 / 9)
    assert shares[1] - shares[0] == pytest.approx((1 - shares[0]) / 8)
    assert shares[2] - shares[1] > 2 * (shares[1] - shares[0])
    assert shares[-1] == pytest.approx(1.0)
    assert clock.now <= 100.0


def test_a_training_that_goes_on_has_the_rest_of_its_schedule():
    clock = Clock()
    pace = Pace(50.0, 9.0, 40, clock)
    pace.share = 0.5
    shares = train(pace, clock, [9.0] * 5, done=7)
    assert shares == pytest.approx([0.6, 0.7, 0.8, 0.9, 1.0])


def test_there_is_always_one_epoch():
    clock = Clock()
    assert train(Pace(-5.0, 1.0, 40, clock), clock, [1.0]) == [1.0]


PARAMS = {
    "data": "digits", "image_size": 8, "first_layer_filters": 4, "filter_org": 1, "conv_layers": 2,
    "activation": "relu", "dropout": 0.2, "batch_norm": True, "num_neurons_dense": 32, "learning_rate": 0.01,
    "batch_size": 64, "schedule": "cosine", "warmup_share": 0.2, "max_epochs": 20, "patience": 20,
}  # fmt: skip


class Rates(pl.Callback):
    """Records the learning rate after each epoch, and lets ``clock`` run."""

    def __init__(self, clock: Clock, seconds: float, stop_after: int = 0) -> None:
        self.clock, self.seconds, self.stop_after, self.rates = clock, seconds, stop_after, []

    def on_validation_end(self, trainer, pl_module):
        self.clock.now += self.seconds  # before the recorder ends the epoch

    def on_train_epoch_end(self, trainer, pl_module):
        self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])
        if len(self.rates) == self.stop_after:
            trainer.save_checkpoint(self.path)
            trainer.should_stop = True


def test_a_training_whose_time_is_over_ends_with_its_rate_at_zero():
    clock = Clock()
    rates = Rates(clock, 10.0)
    metrics = fit(TrialConfig.from_params(PARAMS), [rates], pace=Pace(55.0, 4.0, 20, clock))
    assert (metrics["epochs"], metrics["finished"]) == (5, "time")
    assert rates.rates[-1] == pytest.approx(0.0, abs=1e-9)
    assert rates.rates[-2] > 1e-4


def test_an_interrupted_training_goes_on_in_its_schedule(tmp_path):
    config, clock = TrialConfig.from_params(PARAMS), Clock()
    first = Rates(clock, 10.0, stop_after=2)
    first.path = tmp_path / "last.ckpt"
    fit(config, [first], pace=Pace(105.0, 10.0, 20, clock))
    again, later = Rates(clock, 10.0), Pace(clock.now + 32.0, 10.0, 20, clock)
    metrics = fit(config, [again], resume_from=first.path, pace=later)
    assert (metrics["epochs"], metrics["finished"]) == (5, "time")
    assert again.rates[0] < first.rates[-1]
    assert again.rates[-1] == pytest.approx(0.0, abs=1e-9)


def test_without_a_pace_a_training_has_its_epochs():
    metrics = fit(replace(TrialConfig.from_params(PARAMS), max_epochs=2))
    assert (metrics["epochs"], metrics["finished"]) == (2, "max_epochs")
