"""What the live page of a search costs: processor time and bytes per second, with a study that is replayed.

    python benchmarks/live_page.py                                  # 500 trials, 16 of them running, 120 x 40
    python benchmarks/live_page.py --trials 2000 --running 64 --width 200 --height 60

Each second of the search, every running trial reports an epoch or ends, which is more than most searches do. The page
is made and painted once per second of the search, without waiting in between; the time is that of this process.
"""

import io
import json
import os
import random
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from unittest import mock

from inat.cli import run_command
from inat.study.study import Study
from inat.tuning.live.keys import ViewState
from inat.tuning.live.layout import render
from inat.tuning.live.screen import Screen
from inat.tuning.live.search_source import SearchSource
from inat.tuning.live.watch_source import WatchSource
from inat.tuning.rungs import Rungs

MAX_EPOCHS = 27


@dataclass(frozen=True, kw_only=True, slots=True)
class BenchmarkCommand:
    """Replay a search and measure its page."""

    trials: int = 500
    """Trials in the end."""
    running: int = 16
    """Trials that run at the same time."""
    width: int = 120
    """Columns of the terminal."""
    height: int = 40
    """Lines of the terminal."""
    seconds: int = 60
    """Seconds of the search that are measured for each of the two, at its end."""
    debug: bool = False
    """Show tracebacks."""


class Replay:
    """A search of made-up curves: each call of ``second`` gives every running trial an epoch, or its end."""

    def __init__(self, study: Study, command: BenchmarkCommand) -> None:
        self._study, self._command, self._random = study, command, random.Random(0)

    def second(self) -> None:
        """Let a second of the search pass."""
        study, running = self._study, self._study.unfinished()
        for trial in running:
            if trial.epochs == MAX_EPOCHS or (trial.epochs in (3, 9) and self._random.random() < 2 / 3):
                study.end_trial(trial.trial_id, "completed" if trial.epochs == MAX_EPOCHS else "stopped")
            else:
                value = 1 - 0.9 ** (trial.epochs + 1) - self._random.random() / 20
                best = max(value, trial.best_value or 0.0)
                row = {"epoch": trial.epochs + 1, "val_acc": value, "best_val_acc": best, "seconds": 1.0}
                study.add_epoch(trial.trial_id, row, node=f"node-{trial.number % 4}")
        while len(study.unfinished()) < self._command.running and len(study.trials) < self._command.trials:
            params = {"activation": "gelu", "conv_layers": 5, "learning_rate": self._random.uniform(1e-4, 1e-1)}
            study.add_trial(params | {"dropout": self._random.random() / 2, "batch_size": 64})

    @property
    def ended(self) -> int:
        """How many trials have ended."""
        return self._study.num_ended


def measure(command: BenchmarkCommand) -> dict[str, float]:
    """The cost of the page in the search's own process, and of `inat watch`."""
    rungs = {"max_epochs": MAX_EPOCHS, "grace_period": 3, "reduction_factor": 3}
    clock = Clock()
    with (
        mock.patch("time.monotonic", clock),
        mock.patch.object(Study, "_write_trials_soon"),  # the tables are no part of the page
        tempfile.TemporaryDirectory() as folder,
        closing(Study.create(Path(folder) / "study", {"config": {"num_samples": command.trials} | rungs})) as study,
    ):
        replay = Replay(study, command)
        while replay.ended < command.trials - 4 * command.running:
            replay.second()
        search = SearchSource(study, command.trials, Rungs(3, 3, MAX_EPOCHS))
        search.add_epoch(study.ended()[0])
        sources: dict[str, SearchSource | WatchSource] = {"search": search, "watch": WatchSource(study.directory)}
        costs = {name: _measured(command, replay, source, clock) for name, source in sources.items()}
    return {f"{name}_{unit}": value for name, cost in costs.items() for unit, value in cost.items()}


class Clock:
    """Seconds of the search."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    """A terminal that only counts."""

    def isatty(self) -> bool:
        return True

    def take(self) -> int:
        """The bytes since the last call."""
        count = len(self.getvalue().encode())
        self.seek(0)
        self.truncate()
        return count


def _measured(
    command: BenchmarkCommand, replay: Replay, source: SearchSource | WatchSource, clock: Clock
) -> dict[str, float]:
    terminal = Terminal()
    screen = Screen(terminal, None)
    screen.console.width, screen.console.height = command.width, command.height
    screen.enter()
    source()  # the first page of a study that has begun before
    cost = sent = 0.0
    for _ in range(command.seconds):
        replay.second()
        clock.now += 1
        before = time.process_time()
        snapshot = source()
        screen.paint(partial(render, snapshot, ViewState()))
        cost += time.process_time() - before
        sent += terminal.take()
    seconds = command.seconds
    return {"ms_per_page": 1000 * cost / seconds, "percent_of_a_core": 100 * cost / seconds, "bytes": sent / seconds}


def main(command: BenchmarkCommand) -> None:
    """Print one line of JSON; one page is painted per second."""
    os.environ |= {"TERM": "xterm-256color", "COLORTERM": "truecolor"}
    result = {name: round(value, 2) for name, value in measure(command).items()}
    size = f"{command.width}x{command.height}"
    print(json.dumps({"trials": command.trials, "running": command.running, "size": size} | result))


if __name__ == "__main__":
    run_command(BenchmarkCommand, main)
