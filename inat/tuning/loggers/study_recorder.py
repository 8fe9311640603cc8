"""Tune's callback that passes the epochs and ends of trials on to their lifecycle."""

from collections.abc import Callable
from typing import Any

from ray.tune import Callback
from ray.tune.experiment import Trial as TuneTrial

from inat.constants import EPOCHS_BEFORE
from inat.tuning.lifecycle import TrialLifecycle
from inat.tuning.ray_backend.error_texts import is_node_failure, is_process_death, reason_of
from inat.tuning.ray_backend.retries import RetryPolicy
from inat.tuning.ray_backend.snapshots import NotInSnapshots


class StudyRecorder(NotInSnapshots, Callback):
    """Translates Tune's events; ``requeue`` hands a trial out again that Tune gave up.

    ``has_ray_died`` is asked when a process has died. If it returns True, the trial stays unfinished for a resume: its
    process died with Ray, which ends the search.
    """

    def __init__(
        self,
        lifecycle: TrialLifecycle,
        retries: RetryPolicy,
        requeue: Callable[[str], object],
        has_ray_died: Callable[[], bool] = lambda: False,
    ) -> None:
        self._lifecycle, self._retries, self._requeue = lifecycle, retries, requeue
        self._has_ray_died = has_ray_died

    def on_trial_result(
        self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, result: dict[str, Any], **info: Any
    ) -> None:
        rows = (*result.get(EPOCHS_BEFORE, ()), result)
        self._lifecycle.add_epochs(trial.trial_id, rows, node=str(result.get("hostname", "")))

    def on_trial_complete(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        self._lifecycle.end(trial.trial_id)

    def on_trial_error(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        failure = trial.last_failure
        if (is_node_failure(failure) or is_process_death(reason_of(failure))) and self._has_ray_died():
            return
        self._lifecycle.fail(trial.trial_id, trial.last_failure, lambda: self._try_again(trial))

    def _try_again(self, trial: TuneTrial) -> bool:
        if not self._retries.may_requeue(trial.trial_id, trial.last_failure, trial.run_metadata.num_failures):
            return False
        self._requeue(trial.trial_id)
        return True
