"""What a search prints before it begins, and when it ends early: the task, what is left, how to go on."""

import shlex
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from analysis.run_card import program
from analysis.wording import counted
from inat.caller import is_python
from inat.config.resume import options_to_name
from inat.config.search import SearchConfig
from inat.constants import (
    BACKBONES_CSV,
    DIGITS,
    ERRORS_DIR,
    FAILED,
    GRID,
    OWN_OBJECTIVE,
    RACE,
    TIME_PLAN,
)
from inat.data.class_balance import class_counts, describe_balance
from inat.data.splits import assignment, load_splits
from inat.next_step import as_arguments
from inat.study.study import Study
from inat.tuning import search
from inat.tuning.budget.clock import TIME_OVER, is_over, last_has_begun
from inat.tuning.budget.plan import time_decides
from inat.tuning.describe_data import describe_images, describe_times
from inat.tuning.earlier.lessons import describe_learning
from inat.tuning.equal_cost import compares_at_equal_cost
from inat.tuning.kept_features import describe_altering
from inat.tuning.own_model import describe_own_model
from inat.tuning.sampling.samplers import sampler_for
from inat.tuning.searcher_options import earlier_trials
from inat.tuning.space.domains import optuna_space
from inat.tuning.stoppers import INTERRUPTION, StopAtLimits
from inat.tuning.task import data_configs


def describe_task(config: SearchConfig, study: Study, space: Mapping[str, Any]) -> str:
    """Describe the study directory, the search, and the images."""
    before = f", {len(study.ended())} of them already ended" if study.trials else ""
    epochs = "1 epoch" if config.max_epochs == 1 else f"up to {config.max_epochs} epochs"
    epochs += describe_times(config.folds, config.repeats)
    epochs += " of the recipe or as many as cost the same" if compares_at_equal_cost(study.info) else ""
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
        f"{race}{_trials(config, study)}{_of_grid(config, study)}{before}, {epochs}, "
        f"space {config.resolved().space}{_sampler(config, study, space)}\n{describe_own_model(study)}"
        f"data    {config.data}: {len(splits.classes)} classes, {sizes} px\n"
        + "\n".join([*images, *folds, *describe_learning(study.info, config.searcher), *slow, *balance])
    )


def _sampler(config: SearchConfig, study: Study, space: Mapping[str, Any]) -> str:
    learned = bool(earlier_trials(study))
    name = sampler_for(config.searcher, optuna_space(space), mode=study.objective.mode, learned=learned)
    return ", a Gaussian process chooses" if name == "gp" else ""


def _trials(config: SearchConfig, study: Study) -> str:
    """How many trials a search has; a time plan may have one training instead, or as many trials as the time allows."""
    planned = counted(search.trials_wanted(config, study), "trial")
    if TIME_PLAN not in study.info:
        return f"search  {planned}"
    return f"search  about {counted(config.num_samples or 0, 'trial')}" if time_decides(study.info) else "train   once"


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
    return f"\nended   {whole} ended, so nothing was left to run; {more}{retry_hint(study)}"


def retry_hint(study: Study) -> str:
    """The command that runs the failed trials again, on a line of its own; "" if none has failed.

    Also "" for a time budget whose last training has begun, as its search is over, and for trials that the end of the
    time stopped before their first epoch.
    """
    failed = sum(trial.state == FAILED and not trial.error.endswith(TIME_OVER) for trial in study.ended())
    if not failed or last_has_begun(study):
        return ""
    trials = "the failed trial" if failed == 1 else f"the {failed} failed trials"
    cause = f"see {ERRORS_DIR}/ in the study, mend the cause, then run"
    return f"\nfailed  to run {trials} again, {cause}: {resume_command(study, retry_failed=True)}"


def describe_interruption(config: SearchConfig, study: Study, cause: str = INTERRUPTION) -> str:
    """Describe a search that ended early for ``cause``, and the command that continues it."""
    if not study.trials:
        return f"{cause} before the first trial; nothing is left behind"
    ended = describe_ended(config, study)
    best = study.best()
    reached = "" if best is None else f", best {study.objective.label} {best.best_value:.4f} ({best.trial_id})"
    return f"{cause}: {ended}{reached}, everything is kept\ncontinue with: {resume_command(study)}"


def describe_ended(config: SearchConfig, study: Study) -> str:
    """How many of the trials of a search have ended, as a sentence."""
    if time_decides(study.info):
        ended = len(study.ended())
        return f"{counted(ended, 'trial')} {'has' if ended == 1 else 'have'} ended"
    wanted = search.trials_wanted(config, study)
    return f"{len(study.ended())} of {counted(wanted, 'trial')} {'has' if wanted == 1 else 'have'} ended"


def describe_limit(limit: str, config: SearchConfig, study: Study) -> str:
    """Describe a search that a limit ended, and the command that continues it."""
    best = study.best()
    reached = best is not None and StopAtLimits(study, None, config.target, config.trainings).reached_target(best)
    return (
        f"stopped: {limit}; {describe_ended(config, study)}\n"
        f"continue with: {resume_command(study, **({'target': None} if reached else {}))}"
    )


def resume_command(study: Study, **changes: Any) -> str:
    """The command, or the call in Python, that continues a study with these ``changes`` of its options."""
    named = options_to_name(study.info.get("config", {}))
    if is_python() or OWN_OBJECTIVE in study.info:
        own = [f"objective={study.info[OWN_OBJECTIVE]}"] if OWN_OBJECTIVE in study.info else []
        arguments = ", ".join([*own, *(f"{name}={value!r}" for name, value in (named | changes).items())])
        return f"inat.open_study({str(study.directory)!r}).resume({arguments})"
    parts = (program(), shlex.join(["--resume", str(study.directory)]), as_arguments(named), as_arguments(changes))
    return " ".join(filter(None, parts))
