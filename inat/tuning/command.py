"""What a search script prints before, during and after the search."""

import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from analysis.class_counts import beside
from analysis.markdown import format_duration
from analysis.run_card import program
from analysis.terminal import PlainConsole
from analysis.wording import counted
from inat.caller import is_python
from inat.config.resume import as_arguments, options_to_name
from inat.config.search import SearchConfig
from inat.config.trial import active_params
from inat.constants import (
    BACKBONES_CSV,
    BEST_CKPT,
    COMPLETED,
    DIGITS,
    ERRORS_DIR,
    FAILED,
    GRID,
    HISTORY_CSV,
    OWN_OBJECTIVE,
    RACE,
    STOPPED,
    STUDY_DB,
    TRIALS_CSV,
)
from inat.data.class_balance import class_counts, describe_balance
from inat.data.splits import assignment, load_splits
from inat.errors import Interruption, SearchError
from inat.next_step import next_command
from inat.study.study import Study
from inat.study.trial import Trial
from inat.tuning import search
from inat.tuning.announced_cost import describe_cost
from inat.tuning.best import Model, best_model, evaluate_best_on_test, last_training, write_best
from inat.tuning.budget.asked import begin_if_asked
from inat.tuning.budget.clock import Clock, is_over, last_has_begun, last_is_left
from inat.tuning.describe_data import describe_images, describe_times
from inat.tuning.describe_scores import describe_test
from inat.tuning.earlier.lessons import describe_learning
from inat.tuning.kept_features import describe_altering
from inat.tuning.lifecycle import TrialCallback
from inat.tuning.own_model import describe_own_model
from inat.tuning.own_objective import name_of
from inat.tuning.own_stages import with_fitting_stages
from inat.tuning.pareto import describe_choice, describe_front
from inat.tuning.racing.begin import race_if_asked
from inat.tuning.retry_failed import describe_retries
from inat.tuning.run_file import keep_options
from inat.tuning.runner import Objective
from inat.tuning.stoppers import INTERRUPTION, StopAtLimits
from inat.tuning.task import data_configs
from inat.tuning.validation_noise import describe_noise, noise_of
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
        with console.status("timing a few batches per backbone"):
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
        console.print(describe_test(evaluate_best_on_test(study, config.data_config()), study.info))
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
    if limit:
        part = "search  " if clock.plan.searches else "last    "
        console.print(f"{part}ended early: {limit}; {_ended(config, study)}")
    if clock.plan.searches and study.best() is not None:
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


def describe_task(config: SearchConfig, study: Study, space: Mapping[str, Any]) -> str:
    """Describe the study directory, the search, and the images."""
    before = f", {len(study.ended())} of them already ended" if study.trials else ""
    wanted = search.trials_wanted(config, study)
    epochs = "1 epoch" if config.max_epochs == 1 else f"up to {config.max_epochs} epochs"
    epochs += describe_times(config.folds, config.repeats)
    configs = data_configs(config, space)
    plain = replace(configs[0], use_augmentation=False)
    splits = load_splits(plain)
    images = describe_images(splits, None if config.data == DIGITS else assignment(plain))
    sizes = ", ".join(f"{data.image_size} x {data.image_size}" for data in configs)
    balance = describe_balance(splits.classes, class_counts(splits), config.objective)
    trained = describe_folds(config.folds, config.repeats)
    folds = [f"folds   each trial trains {trained}"] if trained else []
    chosen = study.info.get(RACE, {}).get("chosen", [])
    race = f"race    {', '.join(map(str, chosen))} chosen, see {BACKBONES_CSV} in the study\n" if chosen else ""
    slow = list(filter(None, [describe_altering(config, space)]))
    return (
        f"study   {study.directory}\n"
        f"{race}search  {counted(wanted, 'trial')}{_of_grid(config, study)}{before}, {epochs}, "
        f"space {config.resolved().space}\n{describe_own_model(study)}"
        f"data    {config.data}: {len(splits.classes)} classes, {sizes} px\n"
        + "\n".join([*images, *folds, *describe_learning(study.info, config.searcher), *slow, *balance])
    )


def describe_folds(folds: int, repeats: int) -> str:
    """Describe how often each trial trains; "" for once."""
    if folds > 1:
        again = f", {repeats} times with newly drawn folds" if repeats > 1 else ""
        return f"once per fold, {folds} folds of the train and validation images{again}"
    return f"{repeats} times, each time with another seed" if repeats > 1 else ""


def _of_grid(config: SearchConfig, study: Study) -> str:
    whole = len(study.info.get(GRID, ()))
    return f" of the grid's {whole}, the first in order" if whole > search.trials_wanted(config, study) else ""


def describe_nothing_left(config: SearchConfig, study: Study) -> str:
    """Say that a study has ended and what continues it."""
    ended = len(study.ended())
    whole = "the only trial has" if ended == 1 else f"all {ended} trials have"
    if 0 < len(study.info.get(GRID, ())) <= ended:
        more = "the whole grid has been tried; start a new study for another grid"
    elif is_over(study):
        more = "its time budget is spent; for a longer search, start a new study"
    else:
        more = f"for more, raise --num-samples: {resume_command(study, num_samples=2 * ended)}"
    return f"\nended   {whole} ended, so nothing was left to run; {more}{_retry_hint(study)}"


def _retry_hint(study: Study) -> str:
    """The command that runs the failed trials again, on a line of its own; "" if none has failed.

    Also "" for a time budget whose last training has begun: its search is over.
    """
    failed = sum(trial.state == FAILED for trial in study.ended())
    if not failed or last_has_begun(study):
        return ""
    trials = "the failed trial" if failed == 1 else f"the {failed} failed trials"
    cause = f"see {ERRORS_DIR}/ in the study, mend the cause, then run"
    return f"\nfailed  to run {trials} again, {cause}: {resume_command(study, retry_failed=True)}"


def describe_interruption(config: SearchConfig, study: Study, cause: str = INTERRUPTION) -> str:
    """Describe a search that ended early for ``cause``, and the command that continues it."""
    if not study.trials:
        return f"{cause} before the first trial; nothing is left behind"
    ended = _ended(config, study)
    return f"{cause}: {ended}, everything is kept\ncontinue with: {resume_command(study)}"


def _ended(config: SearchConfig, study: Study) -> str:
    wanted = search.trials_wanted(config, study)
    return f"{len(study.ended())} of {counted(wanted, 'trial')} {'has' if wanted == 1 else 'have'} ended"


def describe_limit(limit: str, config: SearchConfig, study: Study) -> str:
    """Describe a search that a limit ended, and the command that continues it."""
    best = study.best()
    reached = best is not None and StopAtLimits(study, None, config.target, config.trainings).reached_target(best)
    return (
        f"stopped: {limit}; {_ended(config, study)}\n"
        f"continue with: {resume_command(study, **({'target': None} if reached else {}))}"
    )


def resume_command(study: Study, **changes: Any) -> str:
    """The command, or the call in Python, that continues a study with these ``changes`` of its options."""
    named = options_to_name(study.info.get("config", {}))
    if is_python() or OWN_OBJECTIVE in study.info:
        own = [f"objective={study.info[OWN_OBJECTIVE]}"] if OWN_OBJECTIVE in study.info else []
        arguments = ", ".join([*own, *(f"{name}={value!r}" for name, value in (named | changes).items())])
        return f"inat.open_study({str(study.directory)!r}).resume({arguments})"
    words = [f"--{n.replace('_', '-')}{'' if value is True else f' {value}'}" for n, value in changes.items()]
    parts = (program(), shlex.join(["--resume", str(study.directory)]), as_arguments(named), *words)
    return " ".join(filter(None, parts))


def describe_next(study: Study) -> str:
    """The command that chooses a final model; "" for an objective of the user, which leaves no weights."""
    if OWN_OBJECTIVE in study.info or not (study.directory / BEST_CKPT).exists():
        return ""
    named = options_to_name(study.info.get("config", {}), ("cache_dir", "weights_dir", "model"))
    return f"next    {next_command('finalize', study.directory, **named)}"


def describe_run(new: int, before: int, seconds: float) -> str:
    """The time of a run; of a resumed search, with the number of trials that ended in that time.

    >>> describe_run(12, 0, 75.0), describe_run(4, 8, 20.0)
    (' in 1 min 15 s', '; 4 of them in this run, in 20 s')
    """
    return (
        f" in {format_duration(seconds)}"
        if not before
        else f"; {new} of them in this run, in {format_duration(seconds)}"
    )


def describe_failure(study: Study) -> str:
    """Describe why a search has no result."""
    errors = [trial.error for trial in study.ended() if trial.error]
    first = f"; {'it' if len(study.trials) == 1 else 'the first'} failed with: {errors[0]}" if errors else ""
    return f"no trial in {study.directory} has a result{first}; see {ERRORS_DIR}/ there{_retry_hint(study)}"


def describe_result(study: Study, best: Model, seconds: float, before: int = 0) -> str:
    """Describe the result of a search, which is the model in best.ckpt, and the files that hold it.

    ``seconds``: what this run took; ``before``: how many trials had ended before it, in a search that it resumed.
    """
    states = [trial.state for trial in study.ended()]
    counts = ", ".join(f"{states.count(state)} {state}" for state in (COMPLETED, STOPPED, FAILED))
    params = ", ".join(f"{name} {value}" for name, value in active_params(best.trial.params).items())
    objective = study.objective
    names = (BEST_CKPT, TRIALS_CSV, HISTORY_CSV, STUDY_DB, ERRORS_DIR)
    files = [name for name in names if (study.directory / name).exists()]
    noise = noise_of(study, best.leader)
    return (
        f"\ntrials  {counts}{describe_run(len(states) - before, before, seconds)}\n"
        f"study   {study.directory}: {', '.join(files)}\n"
        f"best    {best.trial_id} {best.name}{', trained again' if best.last else ''}\n"
        f"        {params}\n"
        f"val     {describe_value(study, best.trial)} in {counted(best.trial.epochs, 'epoch')}"
        f"{beside(study.info, objective)}"
        f"{describe_choice(best, study.info)}"
        f"{describe_noise(noise)}"
        f"{describe_front(study, study.info, best, noise)}"
        f"{_retry_hint(study)}"
    )


def describe_value(study: Study, trial: Trial) -> str:
    """Describe the result of a trial: its best value, or mean and error over its trainings."""
    label = study.objective.label
    if not trial.folded:
        return f"{trial.best_value:.4f} best {label}"
    error = "" if trial.standard_error is None else f" +- {trial.standard_error:.4f}"
    config = study.info.get("config", {})
    folds, repeats = config.get("folds", 1), config.get("repeats", 1)
    words = describe_times(folds, repeats).removeprefix(" x ")
    part = "" if trial.folds_done == folds * repeats else f"{trial.folds_done} of "
    return f"{trial.best_value:.4f}{error} ({part}{words}) best {label}"


def describe_last(study: Study) -> str:
    """Say which of the search's best trial and the last training is the better one; "" without a last training."""
    best, last = study.best(), last_training(study.directory)
    if best is None or last is None:
        return ""
    model = best_model(study, study.directory)
    of_search = best.trial_id if model is None else model.trial_id
    chosen = "the last training" if model is not None and model.last else f"{of_search} of the search"
    return (
        f"last    {last.trial.best_value:.4f} best {study.objective.label} in {counted(last.trial.epochs, 'epoch')}, "
        f"{best.best_value:.4f} in the search: {BEST_CKPT} is of {chosen}"
    )


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
