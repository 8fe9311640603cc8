"""The first screen of a report: the best configuration, how good it is, and what it cost."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.budgets import epochs_of
from analysis.class_counts import constant_score, describe_counts, recorded_counts
from analysis.comparable import best_first, is_accuracy, mask_infinite
from analysis.constant_answer import constant_result, no_better_trials
from analysis.markdown import format_duration
from analysis.nothing_to_compare import no_result
from analysis.objective import ACCURACY, objective_named
from analysis.report.document import Fact, Headline
from analysis.schema import (
    BEST_VAL_ACC,
    CHEAPER_THAN,
    CREATED,
    EPOCH,
    EPOCHS,
    FAILED,
    FOLDS_DONE,
    LAST_TRAINING,
    NAME,
    OWN_EPOCHS,
    RECIPE_EPOCH,
    REFIT,
    SECONDS,
    STANDARD_ERROR,
    STATE,
    STATES,
    TEST,
    TRAIN,
    TRAINABLE,
    TRIAL_ID,
    VAL,
)
from analysis.side_by_side.evaluations import is_refit, is_trained_last, read_best_json, tested
from analysis.stats.encode import label_of
from analysis.stats.shares import share_interval
from analysis.study import StudyData
from analysis.study_noise import better_trial, noise_of
from analysis.wording import counted, join_words, other_params


def headline(study: StudyData, path: Path, findings: list[str]) -> Headline:
    """The first screen for the study that was loaded from ``path``."""
    best_json = read_best_json(path)
    best = best_trial(study, best_json)
    name = path.name or path.resolve().name
    if best is None:
        return Headline(name, str(no_result(study)), {}, cost_facts(study), findings)
    configuration = {p: label_of(best[p]) for p in study.parameters if p in best and pd.notna(best[p])}
    label = "" if best[NAME] == best[TRIAL_ID] else f" {best[NAME]}"
    facts = [
        validation_fact(study, best), *refit_fact(best_json), *cheaper_fact(study, best_json, best),
        test_fact(study, best_json, best), *noise_fact(study, best_json, best),
        *constant_fact(study, best), *cost_facts(study), *size_fact(study, best), *classes_fact(study),
    ]  # fmt: skip
    chosen = best_json.get(CHEAPER_THAN)
    kind = "chosen trial" if isinstance(chosen, dict) else "best trial"
    kind = "last training of trial" if is_trained_last(best_json) else kind
    return Headline(name, f"{kind} {best[TRIAL_ID]}{label}", configuration, facts, findings)


def best_trial(study: StudyData, best_json: dict[str, Any]) -> pd.Series | None:
    """The trial that best.json names, with what its last training changed; else the best one."""
    trials = study.trials[mask_infinite(study.trials[BEST_VAL_ACC]).notna()]
    named = trials[trials[TRIAL_ID].eq(str(best_json.get(TRIAL_ID)))]
    if len(named):
        return _trained_last(study, named.iloc[0], best_json)
    trials = trials[trials[STATE].ne(FAILED)]
    return trials.loc[best_first(study, trials)[0]] if len(trials) else None


def _trained_last(study: StudyData, trial: pd.Series, best_json: dict[str, Any]) -> pd.Series:
    """The trial with the result, epochs and hyperparameters of its last training, if best.json is about that.

    A last training on the validation photos, too, has hyperparameters, and leaves the result to the search.
    """
    if is_refit(best_json):
        return _with(trial, _params_of(study, best_json[REFIT]))
    value, epochs = (best_json.get(name) for name in (study.metric, EPOCHS))
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if best_json.get(LAST_TRAINING) is not True or not is_number:
        return trial
    whole = type(epochs) is int and epochs > 0
    changes = _params_of(study, best_json) | {BEST_VAL_ACC: value, EPOCHS: epochs if whole else float("nan")}
    return _with(trial, changes | {OWN_EPOCHS: changes[EPOCHS]})


def _params_of(study: StudyData, written: Mapping[str, Any]) -> dict[str, Any]:
    params = written.get("params")
    return {name: params[name] for name in study.parameters if name in params} if isinstance(params, dict) else {}


def _with(trial: pd.Series, changes: Mapping[str, Any]) -> pd.Series:
    return pd.concat([trial.drop(list(changes), errors="ignore"), pd.Series(changes, dtype=object)])


def own_epochs(study: StudyData, trial: pd.Series) -> tuple[float, str]:
    """How often a trial was validated, and what that counts: its own epochs, also where trials have equal cost."""
    trained = float("nan") if pd.isna(trial[EPOCHS]) else float(trial[EPOCHS])
    if study.step != RECIPE_EPOCH:
        return trained, study.unit
    return float(trial.get(OWN_EPOCHS, trained)), EPOCH


def validation_fact(study: StudyData, best: pd.Series) -> Fact:
    """The result by which the search chose the best trial, and why it is too optimistic."""
    tried = int(mask_infinite(study.trials[BEST_VAL_ACC]).notna().sum())
    value = best[BEST_VAL_ACC]
    trained, unit = own_epochs(study, best)
    epochs = f"optimistic: the best of {counted(trained, unit)} and " if trained > 1 else "optimistic: the best "
    error = best.get(STANDARD_ERROR, float("nan"))
    if error == error:
        epochs = f"standard error {error:.4f}, mean over {best[FOLDS_DONE]:.0f} trainings; optimistic: the best "
    of_trials = f"{epochs}of {tried} trials"
    if tried == 1:
        of_trials = f"optimistic: the best of {counted(trained, unit)}" if trained > 1 else "the only result"
    if study.info.get(REFIT) is True:
        of_trials = "of photos that it learns from, so it measures nothing"
    return Fact(
        metric_label(study.metric),
        f"{value:.4f}" if 1e-3 <= abs(value) < 1e4 else f"{value:.4g}",
        f"{of_trials}{constant_note(study, VAL)}",
    )


def cheaper_fact(study: StudyData, best_json: dict[str, Any], chosen: pd.Series) -> list[Fact]:
    """In whose place the trial was chosen because it costs less; nothing for the best trial."""
    better = better_trial(study, best_json, chosen)
    if better[TRIAL_ID] == chosen[TRIAL_ID]:
        return []
    given = best_json[CHEAPER_THAN].get("allowance")
    within = f", within {given:.4f} of it" if isinstance(given, float) else ""
    note = f"{better[BEST_VAL_ACC]:.4f}; {chosen[TRIAL_ID]} costs less{within} (--prefer-cheaper)"
    return [Fact("better trial", str(better[TRIAL_ID]), note)]


def refit_fact(best_json: dict[str, Any]) -> list[Fact]:
    """That the weights are of a training on the validation photos, too; nothing for other models."""
    if not is_refit(best_json):
        return []
    epochs = best_json[REFIT].get(EPOCHS)
    trained = counted(epochs, EPOCH) if type(epochs) is int else "again"
    note = "on all training and validation photos, so that only the test photos measure it"
    return [Fact("trained", trained, f"{note}; the validation result is that of the search{_other_params(best_json)}")]


def _other_params(best_json: dict[str, Any]) -> str:
    """The hyperparameters in which a refit differs from the trial of the search, at the end of a note."""
    of_search, refit = best_json.get("params"), best_json[REFIT].get("params")
    if not isinstance(of_search, dict) or not isinstance(refit, dict):
        return ""
    other = other_params(of_search, refit)
    return f"; {join_words(other)}, as the recipe has it for so many epochs and photos" if other else ""


def metric_label(metric: str) -> str:
    """The name of a metric beside its value."""
    objective = objective_named(metric)
    return objective.label if objective else "validation accuracy" if is_accuracy(metric) else metric


def constant_note(study: StudyData, split: str) -> str:
    """What a constant answer scores on a split, on the end of a note: in the study's metric, on test its accuracy."""
    objective = ACCURACY if split == TEST or is_accuracy(study.metric) else objective_named(study.metric)
    score = None if objective is None else constant_score(study.info, objective.column, split)
    return "" if score is None else f"; a constant answer scores {score:.4f}"


def noise_fact(study: StudyData, best_json: dict[str, Any], best: pd.Series) -> list[Fact]:
    """How many trials cannot be told from the best one; nothing where nothing can be said."""
    noise = noise_of(study, best_json, best)
    if noise is None:
        return []
    photos = counted(noise.images, "validation photo")
    which = f"other trials with kept answers; {noise.left_out} not compared" if noise.left_out else "other trials"
    note = f"{which}; standard error {noise.standard_error:.4f} on {photos}"
    return [Fact("not told from the best", f"{len(noise.untold)} of {len(noise.table)}", note)]


def constant_fact(study: StudyData, best: pd.Series) -> list[Fact]:
    """How much better the best trial is than a constant answer, and how many trials are not; nothing if unknown."""
    counts = no_better_trials(study)
    if counts is None:
        return []
    margin = study.sign * (float(best[BEST_VAL_ACC]) - constant_result(study))
    worse, trials = counts
    who = f"{worse} of {counted(trials, 'trial')} no better" if worse else "every trial is better"
    if trials == 1:
        who = "no better" if worse else "better"
    note = f"{who} than always answering the largest class"
    return [Fact("against a constant answer", f"{margin:+.4f}", note)]


def classes_fact(study: StudyData) -> list[Fact]:
    """The number of classes, the largest and the smallest; nothing for a study that does not record them."""
    counts, data = recorded_counts(study.info), study.info.get("data")
    classes = data.get("classes") if isinstance(data, dict) else None
    if not counts or not isinstance(classes, list) or len(classes) != len(counts[TRAIN]):
        return []
    photos = [train + val for train, val in zip(counts[TRAIN], counts[VAL], strict=True)]
    number, _, sizes = describe_counts([str(name) for name in classes], photos).partition(": ")
    return [Fact("classes", number, f"{sizes}, counting training and validation photos")]


def test_fact(study: StudyData, best_json: dict[str, Any], best: pd.Series) -> Fact:
    """The accuracy on the test images, on which no decision was based, with Wilson's interval."""
    accuracy, images = tested(best_json) if best_json.get(TRIAL_ID) == best[TRIAL_ID] else (None, 0)
    if accuracy is None:
        return Fact("test accuracy", "-", "not evaluated")
    low, high = share_interval(accuracy, images)
    note = f"95 % interval {low:.3f} to {high:.3f}; {images:,} images, evaluated once"
    return Fact("test accuracy", f"{accuracy:.4f}", f"{note}{constant_note(study, TEST)}")


def cost_facts(study: StudyData) -> list[Fact]:
    """The number of trials, epochs and seconds."""
    trials = study.trials
    counts = trials[STATE].value_counts()
    states = ", ".join(f"{counts[state]} {state}" for state in STATES if counts.get(state, 0))
    seconds = float(trials[SECONDS].sum(min_count=1))
    time = format_duration(seconds) if seconds == seconds else "-"
    return [
        Fact("trials", f"{len(trials):,}", states),
        Fact("training time", time, f"{counted(float(epochs_of(trials).sum()), study.unit)}{_elapsed(trials)}"),
    ]


def size_fact(study: StudyData, best: pd.Series) -> list[Fact]:
    """The number of trained parameters of the best trial and of all trials."""
    if pd.isna(best.get(TRAINABLE)):
        return []
    low, high = study.trials[TRAINABLE].min(), study.trials[TRAINABLE].max()
    over_all = f"; {_count(low)} to {_count(high)} over all trials" if low < high else ""
    note = f"in the best trial{over_all}"
    return [Fact("trained parameters", _count(best[TRAINABLE]), note)]


def _count(number: float) -> str:
    return f"{number / 1e6:.1f} M" if number >= 1e6 else f"{number:,.0f}"


def _elapsed(trials: pd.DataFrame) -> str:
    known = trials.dropna(subset=[CREATED, SECONDS])
    if len(known) < 2:
        return ""
    ends = known[CREATED] + pd.to_timedelta(known[SECONDS], unit="s")
    elapsed = format_duration((ends.max() - known[CREATED].min()).total_seconds())
    return f"; {elapsed} from the first trial to the last"
