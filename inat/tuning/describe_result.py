"""What a search prints at its end: the result, its value and files, or why there is none, and the next command."""

from analysis.class_counts import beside
from analysis.markdown import format_duration
from analysis.wording import counted
from inat.config.resume import options_to_name
from inat.config.trial import active_params
from inat.constants import (
    BEST_CKPT,
    COMPLETED,
    ERRORS_DIR,
    FAILED,
    HISTORY_CSV,
    OWN_OBJECTIVE,
    REFIT,
    STOPPED,
    STUDY_DB,
    TRIALS_CSV,
)
from inat.next_step import next_command
from inat.study.study import Study
from inat.study.trial import Trial
from inat.tuning.best import best_model
from inat.tuning.best_json import read_best
from inat.tuning.chosen_model import Model
from inat.tuning.describe_data import describe_times
from inat.tuning.describe_search import retry_hint
from inat.tuning.last_model import last_training
from inat.tuning.pareto import describe_choice, describe_front
from inat.tuning.refit import describe_other_params, refit_problem
from inat.tuning.validation_noise import describe_noise, noise_of


def describe_result(study: Study, best: Model, seconds: float, before: int = 0) -> str:
    """Describe the result of a search, which is the model in best.ckpt, and the files that hold it.

    ``seconds``: what this run took; ``before``: how many trials had ended before it, in a search that it resumed.
    """
    states = [trial.state for trial in study.ended()]
    counts = ", ".join(f"{states.count(state)} {state}" for state in (COMPLETED, STOPPED, FAILED))
    trained = best.trial if best.refit is None else best.refit
    params = ", ".join(f"{name} {value}" for name, value in active_params(trained.params).items())
    objective = study.objective
    names = (BEST_CKPT, TRIALS_CSV, HISTORY_CSV, STUDY_DB, ERRORS_DIR)
    files = [name for name in names if (study.directory / name).exists()]
    noise = noise_of(study, best.leader)
    return (
        f"\ntrials  {counts}{describe_run(len(states) - before, before, seconds)}\n"
        f"study   {study.directory}: {', '.join(files)}\n"
        f"best    {best.trial_id} {best.name}{_trained_again(best)}\n"
        f"        {params}\n"
        f"val     {describe_value(study, best.trial)} in {counted(best.trial.epochs, 'epoch')}"
        f"{' of the search' if best.refit else ''}{beside(study.info, objective)}"
        f"{describe_choice(best, study.info)}"
        f"{describe_noise(noise)}"
        f"{describe_front(study, study.info, best, noise)}"
        f"{retry_hint(study)}"
    )


def _trained_again(best: Model) -> str:
    if best.refit is not None:
        return ", trained again on the training and validation photos together"
    return ", trained again" if best.last else ""


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


def describe_last(study: Study) -> str:
    """Say which of the search's best trial and the last training is the better one; "" without a last training."""
    best, last = study.best(), last_training(study.directory)
    if best is None or last is None:
        return ""
    model = best_model(study, study.directory)
    of_search = best.trial_id if model is None else model.trial_id
    if last.refit is not None:
        return _describe_refit(study, last, of_search)
    chosen = "the last training" if model is not None and model.last else f"{of_search} of the search"
    return (
        f"last    {last.trial.best_value:.4f} best {study.objective.label} in {counted(last.trial.epochs, 'epoch')}, "
        f"{best.best_value:.4f} in the search: {BEST_CKPT} is of {chosen}"
    )


def _describe_refit(study: Study, last: Model, chosen: str) -> str:
    repeated = study.trials.get(last.trial_id)
    other = "" if repeated is None else describe_other_params(repeated, last.trial)
    trained = f"last    {counted(last.trial.epochs, 'epoch')} on the training and validation photos together{other}"
    if problem := refit_problem(study, study.info, last):
        return f"{trained}, not used, as this training {problem}: {BEST_CKPT} is of {chosen} of the search"
    return f"{trained}: {BEST_CKPT} is of this training, and no photo is left to validate it"


def describe_failure(study: Study) -> str:
    """Describe why a search has no result."""
    errors = [trial.error for trial in study.ended() if trial.error]
    first = f"; {'it' if len(study.trials) == 1 else 'the first'} failed with: {errors[0]}" if errors else ""
    return f"no trial in {study.directory} has a result{first}; see {ERRORS_DIR}/ there{retry_hint(study)}"


def describe_next(study: Study) -> str:
    """The command that chooses a final model; "" for an objective of the user, which leaves no weights."""
    if OWN_OBJECTIVE in study.info or not (study.directory / BEST_CKPT).exists():
        return ""
    named = options_to_name(study.info.get("config", {}), ("cache_dir", "weights_dir", "model"))
    # As the last training did, which learnt from the validation photos, too.
    ship = {"ship": True} if REFIT in read_best(study.directory) else {}
    return f"next    {next_command('finalize', study.directory, **named, **ship)}"
