"""The trials of a search of which no cheaper one is as good, for its summary, best.json and Python."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from analysis.class_counts import constant_score, in_32_bit
from analysis.costs.pareto import pareto_front
from analysis.noise import Noise
from analysis.wording import counted
from inat.config.costs import NOISE, PARAMETERS
from inat.constants import STATE, STOPPED, TRIAL_ID
from inat.study.cheaper import CostRule
from inat.study.journal import Journal
from inat.study.trial import Trial
from inat.tuning.chosen_model import Model

MOST_LINES = 5  # of the summary
UNITS: Mapping[str, str] = {PARAMETERS: "trained parameters", "epoch-seconds": "seconds per epoch"}


@dataclass(frozen=True, slots=True)
class FrontTrial:
    """A trial of which no cheaper one is as good, and its cost."""

    trial: Trial
    cost: float


def front_of(journal: Journal, info: Mapping[str, Any]) -> list[FrontTrial]:
    """The Pareto front of the ended trials by value and cost, the best one first; empty if no cost is known.

    A trial that was stopped counts with the value and the cost of the network that it has, which is often less than it
    would have reached. A trial no better than a constant answer is on no front, and with folds only trials that ended
    as many as the best one are compared.
    """
    rule, ranking = CostRule.of(info), journal.ranking()
    known = [(trial, rule.cost_of(trial)) for trial in ranking if trial.folds_done == ranking[0].folds_done]
    points = [FrontTrial(trial, cost) for trial, cost in known if cost is not None and cost > 0]
    if not points:
        return []
    sign, constant = journal.objective.sign, constant_score(info, journal.objective.column)
    values = pd.Series([sign * float(point.trial.best_value or 0) for point in points])
    better = values.gt(sign * in_32_bit(constant)) if constant is not None else pd.Series(True, index=values.index)
    on_front = pareto_front(pd.Series([point.cost for point in points]), values, better)
    return [point for point, is_on in zip(points, on_front, strict=True) if is_on]


def front_json(journal: Journal, info: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The front as best.json has it: id, state, value and cost of each trial, the best one first."""
    name = CostRule.of(info).kind.replace("-", "_")
    column = journal.objective.best_column
    return [
        {TRIAL_ID: point.trial.trial_id, STATE: point.trial.state, column: point.trial.best_value, name: point.cost}
        for point in front_of(journal, info)
    ]


def cheaper_json(model: Model, rule: CostRule) -> dict[str, Any]:
    """What best.json says of a model that was chosen because it costs less than the ``better`` trial."""
    better = model.better
    assert better is not None
    return {
        TRIAL_ID: better.trial_id, better.objective.best_column: better.best_value,
        rule.kind.replace("-", "_"): rule.cost_of(better), "allowance": round(rule.allowance(better), 6),
    }  # fmt: skip


def describe_front(journal: Journal, info: Mapping[str, Any], model: Model, noise: Noise | None) -> str:
    """Lines of the summary of a search: the front, at most MOST_LINES, and why a cheaper trial was chosen.

    "" if no cost is known, or if the best trial is the only one. ``noise`` compares the best trial with the others.
    """
    rule, front = CostRule.of(info), front_of(journal, info)
    if len(front) < 2:
        return ""
    first = f"by {UNITS[rule.kind]}, no cheaper trial is as good as one of these:"
    rows = [_row(point, front[0], rule, model, noise) for point in front[:MOST_LINES]]
    more = len(front) - len(rows)
    rows += [f"and {more} cheaper {'trial' if more == 1 else 'trials'}, see the report"] if more else []
    return "".join(f"\n{'cost    ' if i == 0 else ' ' * 8}{row}" for i, row in enumerate([first, *rows]))


def describe_choice(model: Model, info: Mapping[str, Any]) -> str:
    """A line of the summary of a search with --prefer-cheaper: whether a cheaper trial was chosen; "" without it."""
    better, rule = model.better, CostRule.of(info)
    if not rule.prefers_cheaper:
        return ""
    within = "one standard error" if rule.preference == NOISE else "--prefer-cheaper"
    if better is None:
        if model.last or rule.cost_of(model.trial) is None:
            return ""
        return f"\nchosen  the best trial: no cheaper one is within {within}, {rule.allowance(model.trial):.4f}"
    return (
        f"\nchosen  in the place of {better.trial_id}, {better.best_value:.4f}, because it costs less and is within "
        f"{within}, {rule.allowance(better):.4f}"
    )


def _row(point: FrontTrial, best: FrontTrial, rule: CostRule, model: Model, noise: Noise | None) -> str:
    trial = point.trial
    assert trial.best_value is not None
    assert best.trial.best_value is not None
    cost = f"{point.cost:,.0f}" if rule.kind == PARAMETERS else f"{point.cost:.3g} s"
    words = [f"{trial.trial_id}  {trial.best_value:.4f}  {cost:>{len(f'{best.cost:,.0f}')}}"]
    if point is best:
        words.append("the best")
    else:
        words += [f"{best.cost / point.cost:.3g} times cheaper", f"{trial.best_value - best.trial.best_value:+.4f}"]
        compared = [] if noise is None else noise.table[TRIAL_ID].tolist()
        if noise is not None and trial.trial_id in compared and noise.value == best.trial.best_value:
            told = "cannot be told from the best" if trial.trial_id in noise.untold else "worse by more than chance"
            words.append(told)
    words += [f"stopped after {counted(trial.epochs, 'epoch')}"] if trial.state == STOPPED else []
    words += ["chosen"] if trial.trial_id == model.trial_id and model.better is not None else []
    return ", ".join(words)
