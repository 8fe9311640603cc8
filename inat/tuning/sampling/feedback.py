"""Turning an ended trial into the state and the value that Optuna learns.

Trials end at different epochs, and 0.6 after 3 epochs is not the same result as 0.6 after 27. ``feedback_for`` decides
what an ended trial counts as: completed, stopped by ASHA, out of memory, dead or failed. The raw value and the
number of epochs are stored beside the value as user attributes, so no analysis depends on this choice.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from analysis.rungs import cost_reached
from inat.constants import EPOCH, EPOCHS, FAILED, RUNG, STATE, STOPPED, TRIAL_ID
from inat.study.trial import Trial
from inat.training.memory import is_out_of_memory_text
from inat.tuning.ray_backend.error_texts import is_process_death
from inat.tuning.rungs import Rungs
from inat.tuning.sampling.gains import Gains, reached_by

StoppedPolicy = Literal["chain", "extrapolate", "last", "pruned"]


@dataclass(frozen=True, slots=True)
class SamplerFeedback:
    """State and value of an ended trial for Optuna.

    ``value`` is None for FAIL, and for PRUNED, for which Optuna takes the last reported epoch.
    """

    state: TrialState
    value: float | None


def feedback_for(trial: Trial, gains: Gains, policy: StoppedPolicy) -> SamplerFeedback:
    """Decide what Optuna learns from the ended ``trial``, given the ``gains`` of the trials that had ended before it.

    - A trial that ended by itself counts with its best value, or with the worst one of the objective if that is not a
      finite number.
    - A trial that ASHA stopped counts by ``policy``: "last" with its best value so far, as with "chain", which revises
      it (``chain.Chain``), "pruned" as Optuna's PRUNED, "extrapolate" with its best value plus the median change of
      completed trials after that epoch.
    - A trial that ran out of memory or whose process died counts with the worst value, so that the sampler avoids its
      size.
    - Any other failure counts as FAIL, which samplers ignore: a bug says nothing about the hyperparameters.
    """
    worst = trial.objective.worst
    if trial.state == FAILED:
        too_large = is_out_of_memory_text(trial.error) or is_process_death(trial.error)
        return SamplerFeedback(TrialState.COMPLETE, worst) if too_large else SamplerFeedback(TrialState.FAIL, None)
    value = trial.best_value
    if value is None or not math.isfinite(value):
        return SamplerFeedback(TrialState.COMPLETE, worst)
    if trial.state == STOPPED and policy == "pruned":
        return SamplerFeedback(TrialState.PRUNED, None)
    if trial.state == STOPPED and policy == "extrapolate":
        value += gains.median_after(reached_by(trial))
    return SamplerFeedback(TrialState.COMPLETE, trial.objective.clamp(value))


def user_attrs_of(trial: Trial, rungs: Rungs) -> dict[str, Any]:
    """Return what is stored with a trial in Optuna beside its value: id, state, raw best value, epochs and rungs."""
    return {
        TRIAL_ID: trial.trial_id, STATE: trial.state, trial.objective.best_column: trial.best_value,
        EPOCHS: trial.epochs, RUNG: rungs.reached_by(trial),
    }  # fmt: skip


def steps_of(trial: Trial) -> dict[int, float]:
    """The finite best values of a trial by epoch; of the recipe, where trials are compared at equal cost."""
    found: dict[int, float] = {}
    for row in trial.history:
        step, value = int(cost_reached(int(row[EPOCH]), trial.epoch_cost)), float(row[trial.objective.best_column])
        if step > 0 and math.isfinite(value):
            found.setdefault(step, value)  # the first of several is where the trial is compared
    return found


def as_frozen_trial(
    trial: Trial, feedback: SamplerFeedback, distributions: Mapping[str, BaseDistribution], rungs: Rungs
) -> FrozenTrial:
    """Convert an ended trial with its ``feedback`` into the trial that Optuna has after it was told of it."""
    steps = steps_of(trial)
    value = feedback.value
    if feedback.state == TrialState.PRUNED:
        value = steps[max(steps)] if steps else None  # as Study.tell does
    return create_trial(
        state=feedback.state,
        value=value,
        params=trial.params,
        # A trial whose line in the journal was lost has no hyperparameters.
        distributions={name: one for name, one in distributions.items() if name in trial.params},
        intermediate_values=steps,
        user_attrs=user_attrs_of(trial, rungs),
    )
