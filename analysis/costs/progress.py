"""The best result of a search against the time that it took."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.comparable import mask_infinite
from analysis.constant_answer import constant_result
from analysis.costs.breaks import without_breaks
from analysis.early_stopping.replay import history_in_time_order
from analysis.recipe import recipe_trial
from analysis.schema import BEST_VAL_ACC, CREATED, FAILED, FOLDS_DONE, PREPARATION, SECONDS, STATE, TRIAL_ID
from analysis.side_by_side.trial_costs import slot_seconds, with_preparation
from analysis.study import StudyData

SPENT, ELAPSED, AT = "spent", "elapsed", "at"  # seconds of a result, of its trial until then, of the search until then


@dataclass(frozen=True, slots=True)
class Progress:
    """The best result so far over time.

    - ``steps``: one row per result in the order of time: ``seconds``, best_val_acc, the best so far, and the trial that
      reached it.
    - ``wall``: whether ``seconds`` are those since the first trial began; otherwise those of all trials together.
    - ``breaks``: seconds without a trial in training, in which the search was interrupted; they are left out.
    - ``without_time``: number of trials with a result whose time is unknown; they are left out.
    - ``recipe``: the trial that trained the recipe, if there is one; ``recipe_end``: the seconds at which it ended.
    - ``constant``: what a constant answer scores; NaN if it is not known.
    """

    steps: pd.DataFrame
    wall: bool
    breaks: float = 0.0
    without_time: int = 0
    recipe: pd.Series | None = None
    recipe_end: float = float("nan")
    constant: float = float("nan")


def best_over_time(study: StudyData) -> Progress:
    """The best result so far against the wall time of the search.

    Without times of creation it is the training time of all trials together. Each epoch counts when it ended, or, where
    epochs have no times, each trial. Failed trials take time, but have no result. Raises ValueError if no trial with a
    result has a time.

    >>> progress = best_over_time(study)
    >>> progress.wall, float(progress.steps["best_val_acc"].iloc[-1])
    (True, 0.9896)
    """
    trials = with_preparation(study).set_index(TRIAL_ID, drop=False)
    events = _epoch_events(study, trials)
    timed = trials[trials[SECONDS].notna() & ~trials[TRIAL_ID].isin(events[TRIAL_ID])]
    whole = pd.DataFrame(
        {TRIAL_ID: timed[TRIAL_ID], ELAPSED: slot_seconds(timed), SPENT: slot_seconds(timed),
         BEST_VAL_ACC: mask_infinite(timed[BEST_VAL_ACC])}
    )  # fmt: skip
    wall = bool(len(trials)) and bool(trials[CREATED].notna().all())
    if not wall:
        events = pd.concat([events, whole], ignore_index=True)
        events, breaks = events.assign(**{AT: events[SPENT].cumsum()}), 0.0
    else:
        events, breaks = _on_the_wall(trials, events, whole)
    failed = events[TRIAL_ID].map(trials[STATE]).eq(FAILED)
    results = study.sign * events[BEST_VAL_ACC].mask(failed)
    events = events.assign(**{BEST_VAL_ACC: study.sign * results.cummax().ffill(), "seconds": events[AT]})
    steps = events.dropna(subset=[BEST_VAL_ACC])[["seconds", TRIAL_ID, BEST_VAL_ACC]].reset_index(drop=True)
    steps[TRIAL_ID] = steps[TRIAL_ID].where(steps[BEST_VAL_ACC].diff().ne(0)).ffill()  # who reached it
    if not len(steps):
        raise ValueError("no trial with a result has a recorded time")
    with_result = trials.index[mask_infinite(trials[BEST_VAL_ACC]).notna() & trials[STATE].ne(FAILED)]
    recipe = recipe_trial(study)
    ends = events.groupby(TRIAL_ID)["seconds"].max()
    return Progress(
        steps, wall, breaks, int((~with_result.isin(ends.index)).sum()), recipe,
        float("nan") if recipe is None else float(ends.get(recipe[TRIAL_ID], np.nan)), constant_result(study),
    )  # fmt: skip


def _epoch_events(study: StudyData, trials: pd.DataFrame) -> pd.DataFrame:
    """The epochs of all trials whose epochs have times, in the order in which they ended."""
    columns = [TRIAL_ID, ELAPSED, SPENT, BEST_VAL_ACC]
    # With folds, the history is that of the first training, and the result is the mean of all.
    if FOLDS_DONE in trials or not len(study.history):
        return pd.DataFrame({name: pd.Series(dtype=str if name == TRIAL_ID else float) for name in columns})
    rows = history_in_time_order(study)
    unknown = rows.loc[rows[SECONDS].isna(), TRIAL_ID].unique()
    rows = rows[~rows[TRIAL_ID].isin(unknown)]
    first = ~rows[TRIAL_ID].duplicated()
    before = rows[TRIAL_ID].map(trials[PREPARATION]).astype(float).fillna(0.0).where(first, 0.0)
    rows = rows.assign(**{SPENT: rows[SECONDS] + before})
    return rows.assign(**{ELAPSED: rows.groupby(TRIAL_ID)[SPENT].cumsum()})[columns].reset_index(drop=True)


def _on_the_wall(trials: pd.DataFrame, epochs: pd.DataFrame, whole: pd.DataFrame) -> tuple[pd.DataFrame, float]:
    """The events with their seconds since the first trial began, in order, without breaks; and the breaks."""
    began = (trials[CREATED] - trials[CREATED].min()).dt.total_seconds()
    at = epochs[TRIAL_ID].map(began).astype(float) + epochs[ELAPSED]
    # A trial that waited for its slot began after its creation; the order of the epochs says how late at least.
    epochs = epochs.assign(**{AT: at.cummax()})
    whole = whole.assign(**{AT: whole[TRIAL_ID].map(began).astype(float) + whole[ELAPSED]})
    events = pd.concat([epochs, whole], ignore_index=True).sort_values(AT, kind="stable", ignore_index=True)
    ends = events[AT].to_numpy(dtype=float)
    starts = ends - events[SPENT].to_numpy(dtype=float)
    moved = without_breaks(starts, ends)
    return events.assign(**{AT: moved}), float((ends - moved).max(initial=0.0))
