"""The result of each trial against its cost, and the Pareto front: trials of which no cheaper one is as good.

A trial that was stopped early cost little because it was stopped, not because its configuration is cheap, and its
result is not what the configuration reaches. So there are three comparisons. ``whole``: trainings that ran to their
end, by their time; stopped trials are listed but not compared. ``networks``: the networks of all ended trials as they
are, by a cost that does not depend on the number of epochs: the trained parameters and, in studies with --cost
epoch-seconds, the median time of an epoch; best.json has this front. ``within``: all trials that trained for one
budget, stopped or not, with the cost and the best result of that part of their training only.
"""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from analysis.comparable import ACCURACY, Sample, mask_infinite
from analysis.constant_answer import constant_result
from analysis.schema import (
    BEST_VAL_ACC,
    COMPLETED,
    EPOCH,
    EPOCHS,
    FAILED,
    FOLDS_DONE,
    NAME,
    OWN_EPOCHS,
    RUNNING,
    SECONDS,
    STATE,
    TRAINABLE,
    TRIAL_ID,
)
from analysis.study import StudyData

WHOLE, NETWORKS, WITHIN = "whole", "networks", "within"
EPOCH_SECONDS = "seconds_per_epoch"  # a kind of cost, beside SECONDS and TRAINABLE
STOPPED_EARLY, NO_BETTER = "stopped early", "no better than a constant answer"  # why a trial is left out of the front
POINT_COLUMNS = [
    "compared", "epochs", "cost_kind", TRIAL_ID, NAME, STATE, "cost", "result", "left_out", "front",
]  # fmt: skip


def cost_points(study: StudyData, sample: Sample | None = None) -> pd.DataFrame:
    """One row per comparison, kind of cost and trial: its ``cost``, its ``result``, and whether it is on the ``front``.

    ``compared``: WHOLE, NETWORKS or WITHIN; ``epochs`` is the budget of WITHIN. ``cost_kind``: SECONDS, EPOCH_SECONDS
    (median of the epochs) or TRAINABLE (parameters).
    ``sample``: the trials compared at one budget; without it, or where all trainings ran to their end, there are no
    rows of WITHIN. ``left_out``: why a trial cannot be on the front: STOPPED_EARLY, NO_BETTER (than a constant answer,
    which costs nothing) or "".

    >>> points = cost_points(study)
    >>> whole = points[points["front"] & points["compared"].eq("whole")]
    >>> whole[["trial_id", "cost", "result"]].values[-1].tolist()
    ['t0008', 18.0, 0.9896]
    """
    ended = study.trials[~study.trials[STATE].isin([FAILED, RUNNING])]
    parts = [
        _front(part.assign(compared=compared, epochs=epochs, cost_kind=kind), study)
        for compared, epochs, trials, kinds in _comparisons(study, ended, sample)
        for kind in kinds
        if len(part := _part(trials, kind))
    ]
    if not parts:
        return pd.DataFrame(columns=POINT_COLUMNS)
    return pd.concat(parts, ignore_index=True)[POINT_COLUMNS]


def _comparisons(
    study: StudyData, ended: pd.DataFrame, sample: Sample | None
) -> Iterator[tuple[str, int | None, pd.DataFrame, tuple[str, ...]]]:
    """Each comparison: its budget, its trials with the columns ``result`` and ``left_out``, and its kinds of cost."""
    stopped = np.where(ended[STATE].eq(COMPLETED), "", STOPPED_EARLY)
    yield WHOLE, None, ended.assign(result=ended[BEST_VAL_ACC], left_out=stopped), (SECONDS,)
    yield NETWORKS, None, _networks(study, ended), (TRAINABLE, EPOCH_SECONDS)
    if sample is None or sample.epochs is None or ended[STATE].eq(COMPLETED).all():
        return
    rows = study.history[study.history[EPOCH].le(sample.epochs)]
    seconds = rows.groupby(TRIAL_ID)[SECONDS].agg(lambda column: column.sum(skipna=False))
    trials = sample.trials[sample.trials[STATE].ne(FAILED)]
    within = trials.assign(
        **{SECONDS: trials[TRIAL_ID].map(seconds).astype(float)}, result=trials[ACCURACY], left_out=""
    )
    yield WITHIN, sample.epochs, within, (SECONDS, TRAINABLE)


def _networks(study: StudyData, ended: pd.DataFrame) -> pd.DataFrame:
    """The ended trials by their own results; with folds, only those that ended as many as any."""
    if FOLDS_DONE in ended:
        ended = ended[ended[FOLDS_DONE].fillna(0).eq(ended[FOLDS_DONE].fillna(0).max())]
    config = study.info.get("config")
    if isinstance(config, dict) and config.get("cost") == "epoch-seconds" and len(study.history):
        ended = ended.assign(**{EPOCH_SECONDS: _epoch_seconds(study, ended)})
    return ended.assign(result=ended[BEST_VAL_ACC], left_out="")


def _epoch_seconds(study: StudyData, ended: pd.DataFrame) -> pd.Series:
    """The median seconds of an epoch; of trials of equal cost, whose own epochs are not in the history, the mean."""
    if OWN_EPOCHS in ended:
        return ended[SECONDS] / ended[OWN_EPOCHS].where(ended[OWN_EPOCHS].gt(0))
    seconds = study.history[SECONDS].where(study.history[SECONDS].gt(0))
    return ended[TRIAL_ID].map(seconds.groupby(study.history[TRIAL_ID]).median())


def _part(trials: pd.DataFrame, kind: str) -> pd.DataFrame:
    """The trials with a result and a positive cost of one kind; none if all of them cost the same."""
    cost = pd.to_numeric(trials.get(kind, pd.Series(index=trials.index)), errors="coerce").astype(float)
    known = trials.assign(cost=cost, result=mask_infinite(trials["result"]))
    known = known[known["cost"].gt(0) & np.isfinite(known["cost"]) & known["result"].notna()]
    return known if kind == SECONDS or known["cost"].nunique() > 1 else known.head(0)


def _front(points: pd.DataFrame, study: StudyData) -> pd.DataFrame:
    """The points of one comparison with ``front``."""
    constant = constant_result(study)
    no_better = (study.sign * points["result"]).le(study.sign * constant)  # nothing is, where it is not known
    left_out = points["left_out"].mask(points["left_out"].eq("") & no_better, NO_BETTER)
    front = pareto_front(points["cost"], study.sign * points["result"], left_out.eq(""))
    return points.assign(left_out=left_out, front=front)


def pareto_front(cost: pd.Series, value: pd.Series, comparable: pd.Series) -> pd.Series:
    """Whether each comparable point has a higher value than every other one that costs no more.

    Of points with the same cost and value, the first one counts.

    >>> pareto_front(pd.Series([1, 2, 2, 3]), pd.Series([0.3, 0.5, 0.6, 0.6]), pd.Series([True] * 4)).tolist()
    [True, False, True, False]
    """
    points = pd.DataFrame({"cost": cost, "value": value})[comparable.to_numpy(dtype=bool)]
    points = points.sort_values(["cost", "value"], ascending=[True, False], kind="stable")
    best_before = points["value"].cummax().shift(fill_value=-np.inf)
    on_front = points.index[points["value"].gt(best_before)]
    return pd.Series(cost.index.isin(on_front), index=cost.index)


def front_table(study: StudyData, points: pd.DataFrame, parameters: list[str]) -> pd.DataFrame:
    """The trials of one front, cheapest first, with cost, result, epochs and configuration.

    ``points``: rows of one comparison and kind of cost of ``cost_points``.
    """
    front = points[points["front"]].sort_values("cost", kind="stable")
    trials = study.trials.set_index(TRIAL_ID).loc[front[TRIAL_ID]]
    kind = str(front["cost_kind"].iloc[0]) if len(front) else SECONDS
    table = pd.DataFrame({TRIAL_ID: front[TRIAL_ID].to_numpy(), STATE: front[STATE].to_numpy()})
    table = table.assign(**{kind: front["cost"].to_numpy(), "result": front["result"].to_numpy()})
    if kind == SECONDS and front["compared"].eq(WHOLE).all():
        epochs = pd.to_numeric(trials[EPOCHS], errors="coerce").astype(float).to_numpy()
        table = table.assign(**{EPOCHS: epochs, "seconds_per_epoch": front["cost"].to_numpy() / epochs})
    return pd.concat([table, trials[[name for name in parameters if name in trials]].reset_index(drop=True)], axis=1)
