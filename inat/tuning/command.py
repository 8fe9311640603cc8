"""What the user of a search script reads before, during and after the search."""

import sys
import time
from collections.abc import Mapping

from rich.console import Console

from inat.cli import INTERRUPTED
from inat.constants import BEST_CKPT, COMPLETED, ERRORS_DIR, FAILED, HISTORY_CSV, STOPPED, STUDY_DB, TEST, TRIALS_CSV
from inat.data.splits import load_splits
from inat.errors import SearchError
from inat.options import SearchConfig
from inat.results import Study
from inat.trials import Trial
from inat.tuning import search
from inat.tuning.best import test_once, write_best
from inat.tuning.spaces import space_name


def search_and_report(config: SearchConfig) -> None:
    """Run the search, evaluate the best trial once on the test split, and print where everything is.

    Raises SearchError if no trial has a result; exits with 130 after an interruption, with everything kept.
    """
    started = time.monotonic()
    console = Console(highlight=False, soft_wrap=True, markup=False)
    study, space = search.open_study(config)
    try:
        console.print(describe_task(config, study))
        console.print(decode(config))
        outcome = search.run(config, study, space, announce=console.print)
        best = write_best(study)
        if outcome.interrupted:
            console.print(interruption(config, study))
            sys.exit(INTERRUPTED)
        if best is None:
            raise SearchError(all_failed(study))
        console.print(summary(study, best, test_once(study), time.monotonic() - started))
    finally:
        study.close()


def describe_task(config: SearchConfig, study: Study) -> str:
    """Where the study is and what is searched."""
    classes = len(study.info["data"]["classes"])
    size = config.resolved_image_size
    before = f", {len(study.ended())} of them already ended" if study.trials else ""
    return (
        f"study   {study.directory}\n"
        f"search  {config.num_samples} trials{before}, up to {config.max_epochs} epochs, space {space_name(config)}\n"
        f"data    {config.data}: {classes} classes, {size} x {size} px"
    )


def decode(config: SearchConfig) -> str:
    """Decode the photographs before any trial asks for them; what the splits hold."""
    splits = load_splits(config.data_config())
    skipped = f"; {splits.skipped} unreadable photos left out" if splits.skipped else ""
    return f"images  {len(splits.train)} train, {len(splits.val)} validation, {len(splits.test)} held-out test{skipped}"


def interruption(config: SearchConfig, study: Study) -> str:
    """What to tell a user who pressed Ctrl-C."""
    return (
        f"interrupted: {len(study.ended())} of {config.num_samples} trials have ended, everything is kept\n"
        f"continue with: python {sys.argv[0]} --resume {study.directory}"
    )


def all_failed(study: Study) -> str:
    """Why there is no result."""
    errors = [trial.error for trial in study.ended() if trial.error]
    first = f"; the first failed with: {errors[0]}" if errors else ""
    return f"none of the {len(study.trials)} trials in {study.directory} has a result{first}; see {ERRORS_DIR}/ there"


def summary(study: Study, best: Trial, scores: Mapping[str, float] | None, seconds: float) -> str:
    """The last lines of a search."""
    states = [trial.state for trial in study.ended()]
    counts = ", ".join(f"{states.count(state)} {state}" for state in (COMPLETED, STOPPED, FAILED))
    params = ", ".join(f"{name} {value}" for name, value in best.params.items())
    test = f"{scores[f'{TEST}_acc']:.4f} on {scores['images']} held-out images" if scores else "no checkpoint to test"
    files = [
        name for name in (BEST_CKPT, TRIALS_CSV, HISTORY_CSV, STUDY_DB, ERRORS_DIR) if (study.directory / name).exists()
    ]
    return (
        f"\ntrials  {counts} in {seconds:.0f} s\n"
        f"best    {best.trial_id} {best.name}\n"
        f"        {params}\n"
        f"val     {best.best_val_acc:.4f} best validation accuracy in {best.epochs} epochs\n"
        f"test    {test}\n"
        f"study   {study.directory}: {', '.join(files)}"
    )
