"""The first screen of a report: the best configuration, how good it is, and what it cost."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
from scipy.stats import binomtest

from analysis.comparable import finite, outcome_name
from analysis.markdown import duration
from analysis.report.model import Fact, Headline
from analysis.schema import (
    BEST_JSON,
    BEST_VAL_ACC,
    CREATED,
    EPOCHS,
    FAILED,
    NAME,
    SECONDS,
    STATE,
    STATES,
    TEST,
    TRAINABLE,
    TRIAL_ID,
)
from analysis.stats.encode import label_of
from analysis.stats.resampling import LEVEL
from analysis.study import Study


def headline(study: Study, path: Path, findings: list[str]) -> Headline:
    """The first screen of the study that was read from ``path``."""
    recorded = read_best(path)
    best = best_trial(study, recorded)
    name = path.name or path.resolve().name
    if best is None:
        return Headline(name, "no trial has a result", {}, cost(study), findings)
    shown = {p: label_of(best[p]) for p in study.parameters if p in best and pd.notna(best[p])}
    label = "" if best[NAME] == best[TRIAL_ID] else f" {best[NAME]}"
    facts = [validation(study, best), test_fact(recorded, best), *cost(study), *size(study, best)]
    return Headline(name, f"best trial {best[TRIAL_ID]}{label}", shown, facts, findings)


def read_best(path: Path) -> dict[str, Any]:
    """best.json of a study directory, or nothing."""
    try:
        found = json.loads((path / BEST_JSON).read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def best_trial(study: Study, recorded: dict[str, Any]) -> pd.Series | None:
    """The trial that best.json names, which has a checkpoint, or else the one with the best accuracy."""
    trials = study.trials[finite(study.trials[BEST_VAL_ACC]).notna()]
    named = trials[trials[TRIAL_ID].eq(recorded.get(TRIAL_ID))]
    if len(named):
        return named.iloc[0]
    trials = trials[trials[STATE].ne(FAILED)]
    return trials.loc[(study.sign * trials[BEST_VAL_ACC]).idxmax()] if len(trials) else None


def validation(study: Study, best: pd.Series) -> Fact:
    """The accuracy that the search chose by, and why it flatters."""
    tried = int(finite(study.trials[BEST_VAL_ACC]).notna().sum())
    value = best[BEST_VAL_ACC]
    epochs = f"best epoch of {best[EPOCHS]:.0f}; " if best[EPOCHS] > 0 else ""
    name = "validation accuracy" if outcome_name(study.metric) == "accuracy" else study.metric
    return Fact(
        name,
        f"{value:.4f}" if 1e-3 <= abs(value) < 1e4 else f"{value:.4g}",
        f"{epochs}the best of {tried} trials, so rather too good",
    )


def test_fact(recorded: dict[str, Any], best: pd.Series) -> Fact:
    """The score on images that no decision was made by, with Wilson's interval of a proportion."""
    test = recorded.get(TEST)
    known = test if isinstance(test, dict) and recorded.get(TRIAL_ID) == best[TRIAL_ID] else {}
    accuracy, images = known.get(f"{TEST}_acc"), known.get("images")
    if not (isinstance(accuracy, float | int) and 0 <= accuracy <= 1 and isinstance(images, int) and images > 0):
        return Fact("test accuracy", "-", "not evaluated")
    hits = round(accuracy * images)
    ends = binomtest(hits, images).proportion_ci(LEVEL, method="wilson")
    return Fact(
        "test accuracy", f"{accuracy:.4f}", f"{ends.low:.3f} to {ends.high:.3f} (95 %), {images:,} images, once"
    )


def cost(study: Study) -> list[Fact]:
    """Trials, epochs and seconds."""
    trials = study.trials
    counts = trials[STATE].value_counts()
    states = ", ".join(f"{counts[state]} {state}" for state in STATES if counts.get(state, 0))
    trained = float(trials[SECONDS].sum(min_count=1))
    time = duration(trained) if trained == trained else "-"
    return [
        Fact("trials", f"{len(trials):,}", states),
        Fact("training time", time, f"{trials[EPOCHS].sum():,.0f} epochs{_wall(trials)}"),
    ]


def size(study: Study, best: pd.Series) -> list[Fact]:
    """What the best trial trained, among the others."""
    if pd.isna(best.get(TRAINABLE)):
        return []
    low, high = study.trials[TRAINABLE].min(), study.trials[TRAINABLE].max()
    return [
        Fact(
            "trained parameters", _count(best[TRAINABLE]), f"of the best; {_count(low)} to {_count(high)} in all trials"
        )
    ]


def _count(number: float) -> str:
    return f"{number / 1e6:.1f} M" if number >= 1e6 else f"{number:,.0f}"


def _wall(trials: pd.DataFrame) -> str:
    known = trials.dropna(subset=[CREATED, SECONDS])
    if not len(known):
        return ""
    ends = known[CREATED] + pd.to_timedelta(known[SECONDS], unit="s")
    return f"; {duration((ends.max() - known[CREATED].min()).total_seconds())} from first trial to last"
