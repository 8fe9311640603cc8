"""What metrics.json says: how the model was chosen, what it is, how it scored."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from inat.config.trial import active_params
from inat.constants import BEST_JSON, BEST_VAL_ACC, EPOCHS, METRICS_JSON, NAME, SECONDS, STATE, TEST, TRIAL_ID
from inat.finalize.candidates import Candidate, best_epoch, lead, score_of
from inat.finalize.task import Task
from inat.study.trial import Trial
from inat.tuning.worker.trainable import SEED

FORMAT = 1
RULE = (
    "The best mean validation accuracy wins; of equal means the one with the smaller standard deviation, then the one "
    "that was better in the search. A configuration that failed with some seed cannot win."
)
# Of a training's settings, those that concern the machine and not the model.
LOCAL = ("cache_dir", "data", "weights_dir", "fingerprint", "max_bad_fraction", "train_on_val", "stop_epoch", SEED)


def choice_of(task: Task, candidates: Sequence[Candidate], winner: Candidate, run: Trial) -> dict[str, Any]:
    """The sections on data, search, candidates, winner and model."""
    model = {**run_summary(run), "config": _config(task, winner.trial)}
    return {
        "format": FORMAT,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "study": task.study.directory.name,
        "licence": task.command.licence,
        "data": _data(task, winner.trial),
        "search": _search(task),
        "seeds": task.command.seeds,
        "rule": RULE,
        "candidates": [_candidate(candidate) for candidate in candidates],
        "winner": _winner(task, candidates, winner),
        "model": model,
        "versions": task.info["versions"],
        "commit": task.info["commit"],
    }


def run_summary(run: Trial) -> dict[str, Any]:
    """One training."""
    return {
        "run": run.trial_id, SEED: run.params[SEED], BEST_VAL_ACC: score_of(run), "best_epoch": best_epoch(run),
        EPOCHS: run.epochs, SECONDS: round(run.seconds, 1),
    }  # fmt: skip


def _config(task: Task, trial: Trial) -> dict[str, Any]:
    params = active_params(task.config_of(trial).to_params())
    return {name: value for name, value in params.items() if name not in LOCAL}


def _data(task: Task, trial: Trial) -> dict[str, Any]:
    splits = task.splits_of(trial)
    return {
        "source": _text(task.config.data),
        "fingerprint": task.data.fingerprint,
        "classes": [_text(name) for name in splits.classes],
        "splits": {"train": len(splits.train), "validation": len(splits.val), "test": len(splits.test)},
        "unreadable": splits.skipped,
        "image_size": task.test_data(trial).image_size,
    }


def _text(name: str) -> str:
    """A name of the file system, which need not be Unicode, as something that can be written and drawn."""
    return name.encode(errors="surrogateescape").decode(errors="replace")


def _search(task: Task) -> dict[str, Any]:
    best = task.trials[0]
    return {
        "trials": len(task.study.trials),
        "best_trial": best.trial_id,
        BEST_VAL_ACC: best.best_val_acc,
        "test": _tested_by_search(task),
    }


def _tested_by_search(task: Task) -> dict[str, Any] | None:
    """What the search itself found on the test split at its end, of its best trial."""
    try:
        found: dict[str, Any] = json.loads((task.study.directory / BEST_JSON).read_text(encoding="utf-8"))[TEST]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found


def _candidate(candidate: Candidate) -> dict[str, Any]:
    trial = candidate.trial
    known = bool(candidate.runs)
    return {
        TRIAL_ID: trial.trial_id, NAME: trial.name, "params": active_params(trial.params),
        "search_val_acc": trial.best_val_acc, "search_epochs": trial.epochs, "search_state": trial.state,
        "n": len(candidate.runs), "failed": candidate.wanted - len(candidate.runs),
        "mean": candidate.mean if known else None, "sd": candidate.sd if known else None,
        "runs": [run_summary(run) for run in candidate.runs],
    }  # fmt: skip


def _winner(task: Task, candidates: Sequence[Candidate], winner: Candidate) -> dict[str, Any]:
    first = next(candidate for candidate in candidates if candidate.trial is task.trials[0])
    shrunk = score_of(first.trial) - first.mean if first.runs else None
    return {
        TRIAL_ID: winner.trial.trial_id, NAME: winner.trial.name, STATE: winner.trial.state,
        "mean": winner.mean, "sd": winner.sd, "n": len(winner.runs),
        "is_best_of_search": winner is first,
        "best_of_search_shrank_by": shrunk,
        "lead": _lead(candidates, winner),
        "in_words": [text for text in (_same(first, winner), _shrinkage(task, first), lead_words(candidates, winner))
                     if text],
    }  # fmt: skip


def _same(first: Candidate, winner: Candidate) -> str:
    if winner is first:
        return f"The search's best trial, {first.trial.trial_id}, wins here, too."
    mean = f"{first.mean:.4f}" if first.runs else "no result"
    return (
        f"The search's best trial, {first.trial.trial_id}, does not win: over the seeds it has {mean}, "
        f"{winner.trial.trial_id} has {winner.mean:.4f}."
    )


def _shrinkage(task: Task, first: Candidate) -> str:
    if not first.runs:
        return ""
    score, mean, count = score_of(first.trial), first.mean, len(task.study.trials)
    n = len(first.runs)
    seeds = "one new seed" if n == 1 else f"the mean of {n} new seeds"
    if mean >= score:
        return f"The search's best score, {score:.4f}, did not shrink: {seeds} has {mean:.4f}."
    return (
        f"The search's best score, {score:.4f}, shrank by {score - mean:.4f}: {seeds} has {mean:.4f}. The best of "
        f"{count} trials is in part the luckiest."
    )


def _second(candidates: Sequence[Candidate], winner: Candidate) -> Candidate | None:
    return next((candidate for candidate in candidates if candidate is not winner and candidate.runs), None)


def _lead(candidates: Sequence[Candidate], winner: Candidate) -> dict[str, Any] | None:
    second = _second(candidates, winner)
    found = lead(winner, second) if second is not None else None
    if second is None or found is None:
        return None
    return {"over": second.trial.trial_id, "difference": found[0], "interval": list(found[1:])}


def lead_words(candidates: Sequence[Candidate], winner: Candidate) -> str:
    """By how much the winner leads the second, and what that does not show; "" where there is no spread."""
    found = _lead(candidates, winner)
    if found is None:
        return ""
    low, high = found["interval"]
    compared = sum(bool(candidate.runs) for candidate in candidates)
    sure = "The interval is above 0, but it is" if low > 0 else "Seeds alone can do that, and the interval is"
    return (
        f"{winner.trial.trial_id} leads {found['over']} by {found['difference']:.4f} (95 % interval {low:.4f} "
        f"to {high:.4f}, Welch). {sure} not adjusted for choosing the best of {compared}."
    )


def evaluations_in_words(metrics: dict[str, Any]) -> str:
    """How often the test split was looked at."""
    count, search = metrics["test"]["evaluations"], metrics["search"]["test"]
    text = "The model was evaluated on the test split once, after it had been chosen."
    if count > 1:
        text += (
            f" It is one of {count} models of this study that were: another one is chosen when seeds or configurations "
            "are added. Whoever chooses among them by their test scores gets a number that is too good."
        )
    if search:
        text += (
            " The search had evaluated its own best trial on the same images when it ended "
            f"({search['test_acc']:.4f}); nothing was chosen by that."
        )
    return text


def shipped_section(metrics: dict[str, Any], run: Trial, exports: dict[str, Any]) -> dict[str, Any]:
    """What there is to say of the model that was trained on all but the test split."""
    splits, epochs = metrics["data"]["splits"], run.epochs
    photos = splits["train"] + splits["validation"]
    return {
        SEED: run.params[SEED], EPOCHS: epochs, "photos": photos, "exports": exports,
        "accuracy": None,
        "in_words": (
            "Another model than model.ckpt: the same configuration and seed, trained on the training and validation "
            f"photos together ({photos:,}) for {epochs} epochs, as many as model.ckpt needed to its best, without "
            f"early stopping. Its accuracy was not measured. That of model.ckpt, {metrics['test']['accuracy']:.4f}, is "
            "not its own; more photos mostly help, but nothing here shows that they did."
        ),
    }  # fmt: skip


def as_text(metrics: dict[str, Any]) -> str:
    """metrics.json."""
    return json.dumps(metrics, indent=2, allow_nan=False) + "\n"


def known_metrics(directory: Path) -> dict[str, Any]:
    """What an earlier call wrote; {} if there is nothing to be read."""
    try:
        found = json.loads((directory / METRICS_JSON).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
