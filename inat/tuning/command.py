"""What a search script prints before, during and after the search."""

import shlex
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from analysis.run_card import program
from analysis.terminal import PlainConsole
from inat.cli import INTERRUPTED
from inat.config.resume import as_arguments, options_to_name
from inat.config.search import SearchConfig
from inat.config.trial import active_params
from inat.constants import (
    BEST_CKPT,
    COMPLETED,
    ERRORS_DIR,
    FAILED,
    GRID,
    HISTORY_CSV,
    STOPPED,
    STUDY_DB,
    TEST,
    TRIALS_CSV,
)
from inat.data.splits import load_splits
from inat.errors import SearchError
from inat.study.study import Study
from inat.study.trial import Trial
from inat.tuning import search
from inat.tuning.best import evaluate_best_on_test, write_best
from inat.tuning.stoppers import INTERRUPTION


def search_and_report(config: SearchConfig) -> None:
    """Run the search, evaluate the best trial on the test split once, and print where everything is.

    Raises SearchError if no trial has a result. After an interruption the process exits with 130; everything is kept.
    """
    started = time.monotonic()
    console = PlainConsole()
    study, space = search.open_study(config)
    try:
        console.print(describe_task(config, study, space))
        outcome = search.run(
            config,
            study,
            space,
            print_line=console.print,
            on_forced_exit=lambda cause: _leave(config, study, console, cause),
        )
        best = write_best(study)
        if outcome.interrupted:
            raise KeyboardInterrupt
        if outcome.limit:
            console.print(describe_limit(outcome.limit, config, study))
            if best is None:
                return
        if best is None:
            raise SearchError(describe_failure(study))
        console.print(describe_result(study, best, time.monotonic() - started))
        console.print(describe_test(evaluate_best_on_test(study, config.data_config())))
        with console.status("writing the report"):
            message = write_report(study.directory)
        console.print(message)
    except KeyboardInterrupt:
        console.print(describe_interruption(config, study))
        sys.exit(INTERRUPTED)
    finally:
        study.close()
        _discard_if_empty(config, study)


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
    data_configs = search.data_configs(config, space)
    splits = load_splits(replace(data_configs[0], use_augmentation=False))
    sizes = ", ".join(f"{data.image_size} x {data.image_size}" for data in data_configs)
    lists = " and ".join(map(str, splits.skipped_lists))
    photos = "photo" if splits.skipped == 1 else "photos"
    skipped = f"; {splits.skipped} unreadable {photos} left out, see {lists}" if splits.skipped else ""
    return (
        f"study   {study.directory}\n"
        f"search  {search.trials_wanted(config, study)} trials{_of_grid(config, study)}{before}, "
        f"up to {config.max_epochs} epochs, space {config.resolved().space}\n"
        f"data    {config.data}: {len(splits.classes)} classes, {sizes} px\n"
        f"images  {len(splits.train)} train, {len(splits.val)} validation, {len(splits.test)} held-out test{skipped}"
    )


def _of_grid(config: SearchConfig, study: Study) -> str:
    whole = len(study.info.get(GRID, ()))
    return f" of the grid's {whole}, the first in order" if whole > search.trials_wanted(config, study) else ""


def describe_interruption(config: SearchConfig, study: Study, cause: str = INTERRUPTION) -> str:
    """Describe a search that ended early for ``cause``, and the command that continues it."""
    if not study.trials:
        return f"{cause} before the first trial; nothing is left behind"
    ended = f"{len(study.ended())} of {search.trials_wanted(config, study)} trials have ended"
    return f"{cause}: {ended}, everything is kept\ncontinue with: {resume_command(study)}"


def describe_limit(limit: str, config: SearchConfig, study: Study) -> str:
    """Describe a search that a limit ended, and the command that continues it."""
    best, target = study.best(), config.target_accuracy
    reached = best is not None and target is not None and (best.best_val_acc or 0) >= target
    return (
        f"stopped: {limit}; {len(study.ended())} of {search.trials_wanted(config, study)} trials have ended\n"
        f"continue with: {resume_command(study)}{' --target-accuracy None' if reached else ''}"
    )


def resume_command(study: Study) -> str:
    """The command that continues a study."""
    named = as_arguments(options_to_name(study.info.get("config", {})))
    return f"{program()} {shlex.join(['--resume', str(study.directory)])} {named}".rstrip()


def describe_failure(study: Study) -> str:
    """Describe why a search has no result."""
    errors = [trial.error for trial in study.ended() if trial.error]
    first = f"; the first failed with: {errors[0]}" if errors else ""
    return f"none of the {len(study.trials)} trials in {study.directory} has a result{first}; see {ERRORS_DIR}/ there"


def describe_result(study: Study, best: Trial, seconds: float) -> str:
    """Describe the result of a search and the files that hold it."""
    states = [trial.state for trial in study.ended()]
    counts = ", ".join(f"{states.count(state)} {state}" for state in (COMPLETED, STOPPED, FAILED))
    params = ", ".join(f"{name} {value}" for name, value in active_params(best.params).items())
    names = (BEST_CKPT, TRIALS_CSV, HISTORY_CSV, STUDY_DB, ERRORS_DIR)
    files = [name for name in names if (study.directory / name).exists()]
    return (
        f"\ntrials  {counts} in {seconds:.0f} s\n"
        f"study   {study.directory}: {', '.join(files)}\n"
        f"best    {best.trial_id} {best.name}\n"
        f"        {params}\n"
        f"val     {best.best_val_acc:.4f} best validation accuracy in {best.epochs} epochs"
    )


def describe_test(scores: Mapping[str, float] | None) -> str:
    """Describe the score on the held-out test split; None: there is no checkpoint."""
    if scores is None:
        return "test    no checkpoint to test"
    return f"test    {scores[f'{TEST}_acc']:.4f} on {scores.get('images', 'the')} held-out images, evaluated once"


def write_report(directory: Path) -> str:
    """Write the report of a study; return a line that says where it is, or why there is none.

    An error in the report is part of the line and not raised: the search has succeeded.
    """
    from analysis.report.build import build  # loads scikit-learn and plotly, which the search itself does not need
    from analysis.report.write import write
    from analysis.study import load_study

    command = shlex.join(["python", "-m", "analysis", "report", str(directory)])
    try:
        page = write(build(load_study(directory), directory), directory)[0]
    except Exception as error:
        return f"report  not written ({type(error).__name__}: {error}); try again with: {command}"
    return f"report  {page}"
