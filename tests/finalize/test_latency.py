from inat.finalize.latency import FEWEST, MOST_SECONDS, RUNS, WARM_UP, measured, processor_name


class Clock:
    """Each call of ``run`` takes the next of some seconds, the last one again and again."""

    def __init__(self, *seconds: float) -> None:
        self.now, self.runs, self.seconds = 0.0, 0, seconds

    def run(self) -> None:
        self.now += self.seconds[min(self.runs, len(self.seconds) - 1)]
        self.runs += 1

    def __call__(self) -> float:
        return self.now


def test_the_first_runs_do_not_count():
    clock = Clock(*[1e-3 * MOST_SECONDS] * WARM_UP, 1e-3)
    found = measured(clock.run, clock)
    assert len(found) == RUNS
    assert {round(milliseconds, 6) for milliseconds in found} == {1.0}


def test_a_slow_network_runs_less_often():
    clock = Clock(MOST_SECONDS)
    assert len(measured(clock.run, clock)) == FEWEST
    assert clock.runs < WARM_UP + FEWEST


def test_the_processor_has_a_name():
    assert processor_name()
