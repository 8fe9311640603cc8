"""A race plans again when the first epochs show that a timed batch was wrong."""

import json
from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ray import tune

from inat.config.backbones import FREEZE_ALL, FREEZE_PARTIAL, UNFREEZE_ALL
from inat.config.objective import ACCURACY
from inat.study.trial import Trial
from inat.tuning.racing.forecast import SLACK, Expected, Forecast, chosen
from inat.tuning.racing.waves import Waves, next_params

HEAD = {"backbone": "net", "strategy": FREEZE_ALL}
LAST = {"backbone": "net", "strategy": FREEZE_PARTIAL, "k_layers": 1}
WHOLE = {"backbone": "net", "strategy": UNFREEZE_ALL}
SPACE = {"backbone": tune.choice(["net"]), "strategy": tune.choice([FREEZE_ALL, FREEZE_PARTIAL, UNFREEZE_ALL]),
         "k_layers": tune.choice([1])}  # fmt: skip


def forecast(**changes) -> Forecast:
    """A head of 10 s and partial trials of 60 s for 40 s together; a whole network of 90 s for 50 s; 10 epochs."""
    rows = [Expected(HEAD, 10.0), Expected(LAST, 60.0), Expected(WHOLE, 90.0)]
    return Forecast(
        **{"expected": rows, "partial_seconds": 40.0, "full_seconds": 50.0, "full": 1, "epochs": 10} | changes
    )


def trial(params, seconds: float, epochs: int = 10, preparation: float = 0.0) -> Trial:
    rows = [{"epoch": n + 1, "seconds": seconds / epochs, ACCURACY.best_column: 0.5} for n in range(epochs)]
    if rows:
        rows[0]["preparation_seconds"] = preparation
    return Trial("t0000", 0, dict(params), "", history=rows)


def race(seconds: float, count: int) -> list[str]:
    """The strategies of a race that planned only the head, if every trial takes ``seconds`` of its expected ones."""
    waves, trials = Waves([HEAD], [], 0, forecast()), []
    costs = {chosen(one.params): one.seconds for one in waves.forecast.expected}
    for _ in range(count):
        params = {"strategy": FREEZE_ALL} | next_params(waves, SPACE, trials, ACCURACY)
        trials.append(trial(params, seconds * costs[chosen(params)]))
    return [one.params["strategy"] for one in trials]


def test_what_a_busy_machine_seemed_to_make_too_long_gets_its_turn():
    assert race(0.5, 3) == [FREEZE_ALL, FREEZE_PARTIAL, UNFREEZE_ALL]


def test_what_is_really_too_long_does_not():
    assert UNFREEZE_ALL not in race(1.0, 4)
    assert FREEZE_PARTIAL not in race(2.0, 4)


def test_nothing_that_was_planned_is_taken_back():
    waves = Waves([HEAD, LAST], ["net"], 1, forecast())
    again = waves.planned_again([trial(HEAD, 1e6)])
    assert (again.partial, again.whole, again.full) == (waves.partial, waves.whole, waves.full)


def test_what_seemed_more_than_twice_too_long_is_dropped_for_good():
    slow = forecast(partial_seconds=29.9, full_seconds=45.0)
    assert [one.params for one in slow.possible()] == [HEAD, WHOLE]
    assert slow.more_partial([HEAD], 0.01) == []


@pytest.mark.parametrize(("trials", "slowness"), [
    ([], None),
    ([trial(HEAD, 0.0, 0)], None),
    ([trial(HEAD, 5.0)], 0.5),
    ([trial(HEAD, 5.0, 5)], 1.0),  # it was stopped after half of its epochs
    ([trial(HEAD, 5.0, preparation=10.0)], 1.5),  # features count
    ([trial(HEAD, 5.0), trial(LAST, 60.0), trial(WHOLE, 900.0)], 1.0),
    ([trial({"backbone": "other", "strategy": FREEZE_ALL}, 5.0)], None),
])  # fmt: skip
def test_the_real_speed_is_the_median_over_trials(trials, slowness):
    assert forecast().slowness(trials) == (slowness if slowness is None else pytest.approx(slowness))


def test_a_forecast_is_a_part_of_study_json():
    waves = Waves([HEAD], ["net"], 1, forecast())
    assert Waves.from_json(json.loads(json.dumps(waves.to_json()))) == waves
    assert Forecast.from_json(asdict(forecast())) == forecast()


def test_a_race_of_an_earlier_version_has_none():
    waves = Waves.from_json({"partial": [HEAD], "whole": ["net"], "full": 1})
    assert waves.planned_again([trial(HEAD, 0.1)]) is waves


@given(st.lists(st.floats(0.1, 1000.0), min_size=1, max_size=6), st.floats(0.01, 10.0), st.floats(1.0, 500.0))
def test_more_trials_fit_at_the_real_speed(seconds, slowness, limit):
    rows = [Expected({"backbone": f"net{n}", "strategy": FREEZE_ALL}, cost) for n, cost in enumerate(seconds)]
    some = forecast(expected=rows, partial_seconds=limit)
    more = some.more_partial([rows[0].params], slowness)
    costs = {row.backbone: row.seconds for row in rows}
    assert all(costs[params["backbone"]] <= SLACK * limit for params in more)
    assert not more or slowness * (seconds[0] + sum(costs[p["backbone"]] for p in more)) <= limit * (1 + 1e-9)
