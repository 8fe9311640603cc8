"""How many trials of a search cannot be told from its best model, by their answers on the validation images."""

from analysis.class_counts import validation_images
from analysis.noise import Noise, Scored, compare_with_best
from analysis.readers.answers import Answers, read_all_answers, read_last_answers
from inat.study.study import Study
from inat.study.trial import Trial
from inat.tuning.chosen_model import Model


def noise_of(study: Study, model: Model) -> Noise | None:
    """Compare the best model with the other ended trials by the metric of the study; None if nothing can be said."""
    trial_id, last = model.trial_id, model.last
    kept = read_all_answers(study.directory)
    others = [trial for trial in study.ranking() if last or trial.trial_id != trial_id]
    answers = read_last_answers(study.directory) if last else kept.get(trial_id)
    best = _scored(model.trial, trial_id, answers)
    scored = [_scored(trial, trial.trial_id, kept.get(trial.trial_id)) for trial in others]
    return compare_with_best(best, scored, *validation_images(study.info), study.objective)


def describe_noise(noise: Noise | None) -> str:
    """A line of the summary of a search; "" where nothing can be said."""
    return "" if noise is None else f"\nnoise   {noise.describe()}"


def _scored(trial: Trial, trial_id: str, answers: Answers | None) -> Scored:
    assert trial.best_value is not None
    return Scored(trial_id, trial.best_value, trial.folds_done if trial.folded else 1, answers)
