import numpy as np
import pytest


def replays(report, method: str, regret: float, seeds: int = 20, spread: float = 0.1) -> list:
    noise = np.random.default_rng(int(regret * 10)).normal(0, spread, seeds)
    return [report.Replay("boosting", method, 4, seed, [regret + noise[seed]] * report.POINTS) for seed in range(seeds)]


def test_budgets_are_found_among_the_points(benchmark):
    report = benchmark("search_report")
    assert report.points_of((135, 270, 810)) == [4, 9, 29]


def test_a_method_with_less_regret_in_every_seed_wins_all_cells(benchmark):
    report = benchmark("search_report")
    table = report.wins([*replays(report, "own", 1.0), *replays(report, "peer", 2.0)], "own")
    assert "peer             3 wins, 0 losses, 0 neither; 3 wins" in table
    assert "wins boosting, 4 workers, budget 1: +" in table
    table = report.wins([*replays(report, "own", 2.0), *replays(report, "peer", 1.0)], "own")
    assert "peer             0 wins, 3 losses, 0 neither" in table
    assert "LOSES boosting" in table


def test_equal_methods_neither_win_nor_lose(benchmark):
    report = benchmark("search_report")
    table = report.wins([*replays(report, "own", 1.0), *replays(report, "peer", 1.0)], "own")
    assert "0 wins, 0 losses, 3 neither; 0 wins, 0 losses, 3 neither" in table


def test_seeds_are_paired_whatever_their_order(benchmark):
    report = benchmark("search_report")
    own = replays(report, "own", 1.0, spread=1.0)
    peer = [report.Replay(r.space, "peer", 4, r.seed, [v + 0.2 for v in r.regrets]) for r in reversed(own)]
    cells = report.compare([*own, *peer], "own", [0])
    ((less, p),) = cells.values()
    assert less == pytest.approx(0.2)
    assert p < 1e-4
