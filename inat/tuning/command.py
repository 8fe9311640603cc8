"""Run a search as the search scripts do: print what it does, test its best model once, and write the report."""

import shlex
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from analysis.terminal import PlainConsole
from analysis.wording import counted
from inat.config.search import SearchConfig
from inat.errors import Interruption, SearchError
from inat.study.study import Study
from inat.tuning import search
from inat.tuning.announced_cost import describe_cost
from inat.tuning.best import evaluate_best_on_test, write_best
from inat.tuning.best_json import MODELS_TESTED, read_best
from inat.tuning.budget.asked import begin_if_asked
from inat.tuning.budget.clock import Clock, last_is_left
from inat.tuning.chosen_model import Model
from inat.tuning.describe_result import describe_failure, describe_last, describe_next, describe_result
from inat.tuning.describe_scores import describe_test
from inat.tuning.describe_search import (
    describe_ended,
    describe_interruption,
    describe_limit,
    describe_nothing_left,
    describe_task,
)
from inat.tuning.lifecycle import TrialCallback
from inat.tuning.own_objective import name_of
from inat.tuning.own_stages import with_fitting_stages
from inat.tuning.racing.begin import race_if_asked
from inat.tuning.retry_failed import describe_retries
from inat.tuning.run_file import keep_options
from inat.tuning.runner import Objective
from inat.tuning.validation_predictions import write_predictions
from inat.tuning.worker.trainable import run_trial


def search_and_report(
    config: SearchConfig,
    *,
    planned_from: float | None = None,
    objective: Objective = run_trial,
    callbacks: Sequence[TrialCallback] = (),
) -> Path:
    """Run the search, evaluate the best trial on the test split once, and print where everything is.

    ``planned_from``: the time budget began then, as ``time.monotonic`` counts. It is planned first, which chooses the
    other options, and a last training follows the search. ``objective`` and ``callbacks``: see ``search.run``.
    Returns the study directory.

    Raises SearchError if no trial has a result, and Interruption after Ctrl-C; everything is kept.
    """
    started = time.monotonic() if planned_from is None else planned_from
    console = PlainConsole()
    begun = begin_if_asked(config, planned_from, console.print)
    race = race_if_asked(config, console.print)
    asked = config
    config = with_fitting_stages(race.config if race else begun.config if begun else config)
    chosen: dict[str, Any] = {"race": race.record} if race else {"begun": begun} if begun else {}
    chosen |= {"own_objective": own} if (own := name_of(objective)) else {}
    chosen |= {} if config.resume is None else {"print_line": console.print}  # what becomes of its trials
    study, space = search.open_study(config, **chosen)
    before = study.num_ended
    try:
        if config.resume is None:
            keep_options(study, asked)
        clock = Clock.of(study, config, started)
        if race is not None:
            race.keep_probes(study.directory)
        if config.retry_failed:
            console.print(describe_retries(study))
        console.print(describe_task(config, study, space))
        with console.status("estimating the cost"):
            cost = describe_cost(config)
        if cost:
            console.print(cost)
        outcome = search.run(
            config,
            study,
            space,
            objective,
            print_line=console.print,
            callbacks=callbacks,
            on_forced_exit=partial(_leave, config, study, console),
            spent=0.0 if race is None else time.monotonic() - started,
            clock=clock,
        )
        best = write_best(study)
        if outcome.slots is None and not outcome.limit and not last_is_left(clock, study):
            console.print(describe_nothing_left(config, study))
        if outcome.interrupted:
            raise KeyboardInterrupt
        if clock is not None:
            best = end_within(clock, config, study, outcome.limit, console)
        elif outcome.limit:
            if not study.trials:
                raise SearchError(f"{outcome.limit} before the first trial could start; give a longer --time-budget")
            console.print(describe_limit(outcome.limit, config, study))
            if best is None:
                return study.directory
        if best is None:
            raise SearchError(describe_failure(study))
        console.print(describe_result(study, best, time.monotonic() - started, before))
        scores = evaluate_best_on_test(study, config.data_config())
        console.print(describe_test(scores, study.info, read_best(study.directory).get(MODELS_TESTED, 1)))
        with console.status("predicting the validation images"):
            write_predictions(study, config.data_config())
        study.write_trials()  # trials.csv may be as old as the last epochs, which the report would then not know
        with console.status("writing the report"):
            message = write_report(study.directory)
        console.print(message)
        if command := describe_next(study):
            console.print(command)
    except KeyboardInterrupt as interruption:
        console.print(describe_interruption(config, study))
        raise Interruption from interruption
    finally:
        study.close()
        _discard_if_empty(config, study)
    return study.directory


def end_within(clock: Clock, config: SearchConfig, study: Study, limit: str, console: PlainConsole) -> Model | None:
    """Train the best configuration of a planned search once more, and choose between the two; None without a result.

    Raises KeyboardInterrupt if the user interrupts the training; --resume continues it.
    """
    alone = not clock.plan.searches
    # A training that follows the time ends by itself, shortly before its time is over.
    if limit and not (alone and any(trial.finished for trial in study.ended())):
        part = "last    " if alone else "search  "
        console.print(f"{part}ended early: {limit}; {describe_ended(config, study)}")
    if not alone and study.best() is not None:
        from inat.tuning.budget.last_training import train_last  # loads torch, which other searches do without

        leave = partial(_leave, config, study, console)
        if not train_last(config, study, clock, print_line=console.print, on_forced_exit=leave):
            raise KeyboardInterrupt
        if compared := describe_last(study):
            console.print(compared)
    return write_best(study)


def _leave(config: SearchConfig, study: Study, console: PlainConsole, cause: str) -> None:
    """What remains to be done when the process cannot wait for the end of the search."""
    console.print(describe_interruption(config, study, cause))
    _discard_if_empty(config, study)


def _discard_if_empty(config: SearchConfig, study: Study) -> None:
    if config.resume is None and not study.trials:
        study.discard()


def write_report(directory: Path) -> str:
    """Write the report of a study; return a line that says where it is, or why there is none.

    An error in the report is part of the line and not raised: the search has succeeded.
    """
    from analysis.report.build import build  # loads scikit-learn and plotly, which the search itself does not need
    from analysis.report.write import write
    from analysis.study import load_study

    command = shlex.join(["python", "-m", "analysis", "report", str(directory)])
    try:
        report = build(load_study(directory), directory)
        page = write(report, directory)[0]
    except Exception as error:
        return f"report  not written ({type(error).__name__}: {error}); try again with: {command}"
    failed = f", of which {counted(len(report.failures), 'part')} failed; see: {command}" if report.failures else ""
    return f"report  {page}{failed}"
