"""The content of metrics.json: how the model was chosen, its configuration and its scores."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from analysis.files import read_json
from analysis.side_by_side.evaluations import is_refit, read_best_json
from inat.config.costs import NOISE
from inat.config.objective import Objective
from inat.config.trial import active_params
from inat.constants import EPOCHS, METRICS_JSON, NAME, SECONDS, STATE, TEST, TRIAL_ID
from inat.data.decode import form_of
from inat.finalize.candidates import Candidate, allowance, best_epoch, lead, rank_candidates, score_of
from inat.finalize.last_params import describe_last_params
from inat.finalize.shrinkage import best_epoch_optimism, drop_of, shrinkage_sentences
from inat.finalize.task import Task
from inat.study.trial import Trial
from inat.tuning.worker.trainable import SEED

FORMAT = 1
RULE = (
    "The configuration with the best mean {label} wins. Ties go to the smaller standard deviation, then to "
    "the better rank in the search. A configuration with a failed seed cannot win."
)
CHEAPER_RULE = (
    " Of the configurations {within} of the best mean, the one with the lowest cost in the search takes its place "
    "(--prefer-cheaper, by {kind})."
)
# Settings that describe where and how a run trained; the other settings describe the model.
RUN_SETTINGS = (
    "cache_dir", "data", "weights_dir", "fingerprint", "max_bad_fraction", "train_on_val", "stop_epoch", SEED,
)  # fmt: skip


def choice_sections(task: Task, candidates: Sequence[Candidate], winner: Candidate, run: Trial) -> dict[str, Any]:
    """The part of metrics.json that is known before the test: data, search, candidates, winner and model."""
    model = {**run_summary(run), "config": _config(task, winner.trial)}
    return {
        "format": FORMAT,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "study": task.study.directory.name,
        "licence": task.command.licence,
        "data": _data(task, winner.trial),
        "search": _search(task),
        "seeds": task.command.seeds,
        "objective": _objective(task.study.objective),
        "rule": _rule(task),
        "candidates": [_candidate(candidate) for candidate in candidates],
        "winner": _winner(task, candidates, winner),
        "model": model,
        "versions": task.info["versions"],
        "commit": task.info["commit"],
    }


def _rule(task: Task) -> str:
    text = RULE.format(label=task.study.objective.label)
    if not task.rule.prefers_cheaper:
        return text
    preference = task.rule.preference
    within = "within one standard error (of its seeds)" if preference == NOISE else f"within {preference:g}"
    return text + CHEAPER_RULE.format(within=within, kind=task.rule.kind)


def _objective(objective: Objective) -> dict[str, Any]:
    """The objective of the search and of the choice; metrics.json of earlier versions has none: the accuracy."""
    return {
        "metric": objective.name, "label": objective.label, "mode": objective.mode,
        "column": objective.column, "best_column": objective.best_column, "search_column": _search_column(objective),
    }  # fmt: skip


def _search_column(objective: Objective) -> str:
    return f"search_{objective.column}"


def run_summary(run: Trial) -> dict[str, Any]:
    """One run: its id, seed, best value, epochs and seconds."""
    return {
        "run": run.trial_id, SEED: run.params[SEED], run.objective.best_column: score_of(run),
        "best_epoch": best_epoch(run), EPOCHS: run.epochs, SECONDS: round(run.seconds, 1),
    }  # fmt: skip


def _config(task: Task, trial: Trial) -> dict[str, Any]:
    params = active_params(task.config_of(trial).to_params())
    return {name: value for name, value in params.items() if name not in RUN_SETTINGS}


def _data(task: Task, trial: Trial) -> dict[str, Any]:
    splits = task.splits_of(trial)
    return {
        "source": _text(task.config.data),
        "fingerprint": task.data.fingerprint,
        "classes": [_text(name) for name in splits.classes],
        "splits": {"train": len(splits.train), "validation": len(splits.val), "test": len(splits.test)},
        "unreadable": splits.skipped,
        "image_size": task.test_data(trial).image_size,
        "resize": form_of(task.test_data(trial)).recipe,
    }


def _text(name: str) -> str:
    """A file name as text that can be written and drawn; a file name need not be valid Unicode."""
    return name.encode(errors="surrogateescape").decode(errors="replace")


def _search(task: Task) -> dict[str, Any]:
    best, best_json = task.trials[0], read_best_json(task.study.directory)
    return {
        "trials": len(task.study.trials),
        "best_trial": best.trial_id,
        best.objective.best_column: best.best_value,
        "test": _tested_by_search(best_json),
        "refit": is_refit(best_json),
    }


def _tested_by_search(best_json: Mapping[str, Any]) -> dict[str, Any] | None:
    """The test score that the search itself measured for its best trial; None if there is none."""
    try:
        found: dict[str, Any] = best_json[TEST]
        float(found[f"{TEST}_acc"])
    except (ValueError, KeyError, TypeError):
        return None
    return found


def _candidate(candidate: Candidate) -> dict[str, Any]:
    trial = candidate.trial
    known = bool(candidate.runs)
    return {
        TRIAL_ID: trial.trial_id, NAME: trial.name, "params": active_params(trial.params),
        _search_column(trial.objective): trial.best_value, "search_epochs": trial.epochs, "search_state": trial.state,
        "n": len(candidate.runs), "failed": candidate.seeds - len(candidate.runs),
        "mean": candidate.mean if known else None, "sd": candidate.sd if known else None,
        "runs": [run_summary(run) for run in candidate.runs],
    }  # fmt: skip


def _winner(task: Task, candidates: Sequence[Candidate], winner: Candidate) -> dict[str, Any]:
    first = next(candidate for candidate in candidates if candidate.trial is task.trials[0])
    return {
        TRIAL_ID: winner.trial.trial_id, NAME: winner.trial.name, STATE: winner.trial.state,
        "mean": winner.mean, "sd": winner.sd, "n": len(winner.runs),
        "is_best_of_search": winner is first,
        "best_of_search_shrank_by": drop_of(first),
        "best_epoch_optimism": best_epoch_optimism(task, first),
        "lead": _lead(candidates, winner),
        "in_words": [text for text in (_best_trial_sentence(first, winner),
                                       describe_last_params(task.study, task.trials),
                                       _cheaper_sentence(task, candidates, winner), *shrinkage_sentences(task, first),
                                   lead_sentence(candidates, winner)) if text],
    }  # fmt: skip


def _best_trial_sentence(first: Candidate, winner: Candidate) -> str:
    if winner is first:
        return f"The best trial of the search, {first.trial.trial_id}, also wins here."
    mean = f"its mean over the seeds is {first.mean:.4f}" if first.runs else "no seed has a result"
    return (
        f"The best trial of the search, {first.trial.trial_id}, does not win: {mean}; the mean of "
        f"{winner.trial.trial_id} is {winner.mean:.4f}."
    )


def _cheaper_sentence(task: Task, candidates: Sequence[Candidate], winner: Candidate) -> str:
    """Which configuration has the better mean, if the winner costs less; "" if none has."""
    better = rank_candidates(candidates)[0]
    if better is winner:
        return ""
    cost, own = (task.rule.cost_of(candidate.trial) for candidate in (better, winner))
    less = f"{cost / own:.3g} times less" if cost and own else "less"
    return (
        f"{better.trial.trial_id} has the better mean, {better.mean:.4f}; {winner.trial.trial_id} is within "
        f"{allowance(better, task.rule):.4f} of it and costs {less} ({task.rule.kind})."
    )


def _second(candidates: Sequence[Candidate], winner: Candidate) -> Candidate | None:
    return next((candidate for candidate in candidates if candidate is not winner and candidate.runs), None)


def _lead(candidates: Sequence[Candidate], winner: Candidate) -> dict[str, Any] | None:
    second = _second(candidates, winner)
    found = lead(winner, second) if second is not None else None
    if second is None or found is None:
        return None
    return {"over": second.trial.trial_id, "difference": found[0], "interval": list(found[1:])}


def lead_sentence(candidates: Sequence[Candidate], winner: Candidate) -> str:
    """By how much the winner leads the second, and how certain that is; "" if ``lead`` has no interval."""
    found = _lead(candidates, winner)
    if found is None or found["difference"] < 0:  # a cheaper configuration was preferred
        return ""
    low, high = found["interval"]
    compared = sum(bool(candidate.runs) for candidate in candidates)
    sure = (
        "The interval is above 0, but it is"
        if low > 0
        else "The interval is not entirely above 0, so the seeds alone may explain the lead; it is"
    )
    return (
        f"{winner.trial.trial_id} leads {found['over']} by {found['difference']:.4f} (95 % interval {low:.4f} "
        f"to {high:.4f}, Welch). {sure} not adjusted for choosing the best of {compared}."
    )


def describe_evaluations(metrics: dict[str, Any]) -> str:
    """How often a model of this study was evaluated on the test split."""
    count, search = metrics["test"]["evaluations"], metrics["search"]["test"]
    refit = ", trained on the validation images, too" if metrics["search"].get("refit") else ""
    text = "The model was evaluated on the test split once, after it had been chosen."
    if count > 1:
        text += (
            f" It is one of {count} models of this study that were evaluated, because adding seeds or configurations "
            "can change which model is chosen. Do not choose among these models by their test scores: the best of "
            "them would be too optimistic."
        )
    if search:
        text += (
            f" At its end, the search evaluated its own best {'model' if refit else 'trial'} on the same images "
            f"({search['test_acc']:.4f}{refit}); no choice depended on that score."
        )
    return text


def shipped_section(metrics: dict[str, Any], run: Trial, exports: dict[str, Any]) -> dict[str, Any]:
    """The section about shipped.ckpt, the model trained on all images except the test split."""
    splits, epochs = metrics["data"]["splits"], run.epochs
    images, trained = splits["train"] + splits["validation"], "1 epoch" if epochs == 1 else f"{epochs} epochs"
    return {
        SEED: run.params[SEED], EPOCHS: epochs, "photos": images, "exports": exports,
        "accuracy": None,
        "in_words": (
            "This is not model.ckpt. It has the same configuration and seed, but was trained on the training and "
            f"validation photos together ({images:,}), without early stopping, for {trained}: the number after "
            "which model.ckpt was best. Its accuracy was not measured. The accuracy of model.ckpt, "
            f"{metrics['test']['accuracy']:.4f}, is that of another model: more photos usually help, but nothing here "
            "shows that they did."
        ),
    }  # fmt: skip


def to_json_text(metrics: dict[str, Any]) -> str:
    """The text of metrics.json."""
    return json.dumps(metrics, indent=2, allow_nan=False) + "\n"


def read_metrics(directory: Path) -> dict[str, Any]:
    """The metrics.json that an earlier call wrote; {} if there is none, it cannot be read or it is damaged."""
    try:
        found = read_json(directory / METRICS_JSON)
        intact = all(isinstance(found.get(name) or {}, dict) for name in ("model", "exports", "shipped", "ensemble"))
    except (OSError, ValueError, AttributeError):
        return {}
    return found if intact else {}
