"""The hyperparameters of a study's last training, where they differ from those of the trial that it repeats."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from inat.constants import LAST_TRAINING, REFIT, TIME_PLAN, TRIAL_ID
from inat.study.study import Study
from inat.study.trial import Trial
from inat.tuning.best_json import best_or_nothing
from inat.tuning.space.grid import params_key

CHOSEN = "params"


def with_last_params(study: Study, trials: Sequence[Trial]) -> list[Trial]:
    """``trials``, of which the one that the last training repeated has the hyperparameters of the last training.

    The learning rate and batch size of a recipe follow from the number of epochs and photos, and the runs have the
    epochs of the last training. A trial that has these hyperparameters already is left out: it would be the same one.
    """
    written = best_or_nothing(study.directory)
    repeated, params = study.trials.get(str(written.get(TRIAL_ID))), _last_params(written)
    if TIME_PLAN not in study.info or repeated is None or params is None or params.keys() != repeated.params.keys():
        return list(trials)
    before, after = params_key(repeated.params), params_key(params)
    if before == after or all(params_key(trial.params) != before for trial in trials):
        return list(trials)
    changed = [replace(trial, params=dict(params)) if params_key(trial.params) == before else trial for trial in trials]
    return [new for old, new in zip(trials, changed, strict=True) if new is not old or params_key(old.params) != after]


def _last_params(written: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The hyperparameters of the last training that best.json is about; None if it is about a trial of the search."""
    params = written[REFIT].get(CHOSEN) if REFIT in written else written.get(CHOSEN)
    is_last = REFIT in written or written.get(LAST_TRAINING) is True
    return params if is_last and isinstance(params, Mapping) else None


def describe_last_params(study: Study, trials: Sequence[Trial]) -> str:
    """Which of ``trials`` has hyperparameters of the last training, and which ones; "" if none has."""
    for trial in trials:
        of_search = study.trials[trial.trial_id].params
        names = sorted(name for name, value in trial.params.items() if of_search.get(name) != value)
        if names:
            new = _listed([f"{_words(name)} {_value(trial.params[name])}" for name in names])
            old = _listed([f"{_words(name)} {_value(of_search.get(name))}" for name in names])
            return (
                f"{trial.trial_id} is trained with {new} as in the last training; its score in the search is that of "
                f"{old}."
            )
    return ""


def _listed(words: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def _words(name: str) -> str:
    return name.replace("_", " ")


def _value(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
