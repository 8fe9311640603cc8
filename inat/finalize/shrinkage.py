"""Why the best score of a search shrinks: it is the best of many trials, and of many epochs, by the same images."""

import statistics

from analysis.readers.answers import read_all_answers
from analysis.stats.best_epoch import best_epoch
from inat.config.objective import ACCURACY
from inat.constants import FINAL_DIR, RETRAINING_DIR
from inat.finalize.candidates import Candidate, score_of
from inat.finalize.task import Task

SAME = 1e-4  # accuracies that differ by less are the same number, once written in 32 bit


def drop_of(first: Candidate) -> float | None:
    """By how much new seeds of the best trial of the search are worse than its score; None without a new seed."""
    return first.objective.sign * (score_of(first.trial) - first.mean) if first.runs else None


def best_epoch_optimism(task: Task, candidate: Candidate) -> float | None:
    """By how much the scores of a candidate are too high because they are those of the best epochs; None if unknown.

    The mean over its runs of ``analysis.stats.best_epoch``, which needs their answers on the validation images. They
    are kept for every run, but only accuracies are made of them.
    """
    if candidate.objective is not ACCURACY:
        return None
    kept = read_all_answers(task.study.directory / FINAL_DIR / RETRAINING_DIR)
    known = [(kept[run.trial_id], score_of(run)) for run in candidate.runs if run.trial_id in kept]
    found = [
        best_epoch(answers.trainings[0].right).optimism
        for answers, score in known
        if len(answers.trainings) == 1 and abs(answers.value - score) < SAME
    ]
    return statistics.fmean(found) if found else None


def shrinkage_sentences(task: Task, first: Candidate) -> list[str]:
    """How much the best score of the search dropped in retraining, and what part of it is the best epoch."""
    return [text for text in (_drop_sentence(task, first), _parts_sentence(task, first)) if text]


def _drop_sentence(task: Task, first: Candidate) -> str:
    if not first.runs:
        return ""
    score, mean, count = score_of(first.trial), first.mean, len(task.study.trials)
    n = len(first.runs)
    seeds = "a new seed scores" if n == 1 else f"the mean of {n} new seeds is"
    objective = task.study.objective
    drop, dropped = ("drop", "dropped") if objective.sign > 0 else ("rise", "rose")
    other = _other_epochs(task)
    if objective.reaches(mean, score):
        return f"The best score of the search, {score:.4f}, did not {drop} in retraining: {seeds} {mean:.4f}.{other}"
    return (
        f"The best score of the search, {score:.4f}, {dropped} by {abs(score - mean):.4f} in retraining: {seeds} "
        f"{mean:.4f}.{f' The best of {count} trials is partly the luckiest.' if count > 1 else ''}{other}"
    )


def _other_epochs(task: Task) -> str:
    """That the runs are longer than the trials whose score they are compared with, as after a time plan."""
    runs, trials = task.config.max_epochs, task.study.info["config"].get("max_epochs")
    return (
        ""
        if runs == trials or trials is None
        else f" A run has up to {runs} epoch{'s' * (runs != 1)}, a trial up to {trials}."
    )


def _parts_sentence(task: Task, first: Candidate) -> str:
    """What part of the best score is the best of N and what part the best epoch; "" if the latter is not known."""
    optimism, drop = best_epoch_optimism(task, first), drop_of(first)
    if optimism is None or drop is None:
        return ""
    luck, trials = f"about {optimism:.4f}", len(task.study.trials)
    if not _other_epochs(task) and trials > 1:
        luck = f"{max(drop, 0.0):.4f} is the luck of the best of {trials} trials, and {luck}"
    return (
        f"Of the best score, {luck} is that of the best epoch, which new seeds have as well: it is chosen on the "
        f"photos that measure it (estimated from halves of them). Expect about {first.mean - optimism:.4f} on other "
        "photos."
    )
