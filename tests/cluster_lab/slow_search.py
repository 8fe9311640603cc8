"""The search of tune_scratch.py with epochs of at least SECONDS, so a fault of a few seconds hits running trials.

    python slow_search.py SECONDS [options of tune_scratch.py]

Everything else is unchanged: options, trainable, checkpoints, reports, study, best.json.
"""

import sys
import time

from inat.cli import guard, parse_search
from inat.config.search import SearchConfig
from inat.tuning import command, search
from inat.tuning.worker.trainable import run_trial


def slow_trial(params):
    """``run_trial`` with ``seconds`` more per epoch. Ray pickles it by value, so hosts need no file of the tests."""
    from inat.tuning.worker.callbacks import ReportToTune

    report = ReportToTune.on_train_epoch_end
    ReportToTune.on_train_epoch_end = lambda *args: (time.sleep(seconds), report(*args))[1]
    try:
        run_trial(params)
    finally:
        ReportToTune.on_train_epoch_end = report


def main() -> None:
    run = search.run
    search.run = lambda config, study, space, **how: run(config, study, space, slow_trial, **how)
    command.search_and_report(parse_search(SearchConfig, __doc__ or "", sys.argv[1:]))


if __name__ == "__main__":
    seconds = float(sys.argv.pop(1))
    guard(main)
