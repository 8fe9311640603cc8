"""Decides whether a failed trial runs again.

Tune asks ``StudyTrial.should_recover`` after each failure of a running trial; if the answer is yes, it starts the trial
again, which goes on from its last checkpoint. If a process dies while Tune hands a trial to it, Tune gives the trial
up. The study recorder then asks ``RetryPolicy.may_requeue``, and ``StudyTrials.requeue`` hands the trial out once more.
"""

from collections import Counter
from typing import Any

from ray.tune.experiment import Trial as TuneTrial
from rich.text import Text

from inat.tuning.ray_backend.error_texts import is_node_error, is_node_failure, is_permanent
from inat.tuning.ray_backend.snapshots import NotInSnapshots

MAX_FREE_NODE_DEATHS = 10  # for each trial; after that, the trial may be what kills the nodes
MAX_FREE_NODE_ERRORS = 3  # for each trial; what it finds wrong on each node is wrong with the trial


class RetryPolicy(NotInSnapshots):
    """Counts the failures of each trial against ``max_failures`` (--max-failures).

    - An error that the user has to act on ends the trial at once: it would come again.
    - A failure of the node does not count, as often as ``free_failures`` allows.
    - Each other failure counts, and so does the death of a process before the trial began in it.
    """

    def __init__(self, max_failures: int) -> None:
        self.max_failures = max_failures
        self._handled: dict[str, Any] = {}
        self._free: Counter[str] = Counter()
        self._free_before_start: Counter[str] = Counter()
        self._counted_before_start: Counter[str] = Counter()

    def is_new(self, trial_id: str, exception: Any) -> bool:
        """Whether Tune reports this exception for the first time.

        Tune reports the death of a process twice with the same exception: once for the process, once for the call.
        """
        if exception is not None and self._handled.get(trial_id) is exception:
            return False
        self._handled[trial_id] = exception
        return True

    def is_free(self, trial_id: str, failure: str) -> bool:
        """Whether this failure of a running trial does not count; call it once for each failure."""
        if self._free[trial_id] >= free_failures(failure):
            return False
        self._free[trial_id] += 1
        return True

    def may_requeue(self, trial_id: str, failure: str, counted: int) -> bool:
        """Whether a trial that Tune gave up is handed out again; ``counted`` failures of it count already."""
        if is_permanent(failure):
            return False
        if self._free_before_start[trial_id] < free_failures(failure):
            self._free_before_start[trial_id] += 1
        else:
            self._counted_before_start[trial_id] += 1
        if counted > self.max_failures or self._counted_before_start[trial_id] > self.max_failures:
            return False
        self._free.pop(trial_id, None)  # Tune starts its own count again, too
        return True


class StudyTrial(TuneTrial):
    """Tune's trial under a ``RetryPolicy``; ``last_failure`` is the text of its latest failure, without colours.

    ``classes`` are the classes of trainables by name, shared by all trials of a run: Tune asks the head for the class
    and unpickles it several times per trial. Tune has registered it before the first trial.
    """

    def __init__(self, name: str, *, retries: RetryPolicy, classes: dict[str, Any], **options: Any) -> None:
        super().__init__(name, max_failures=retries.max_failures, stub=True, **options)
        self.stub = False  # with True, Tune asks the head only when it needs the class
        self.last_failure = ""
        self._retries = retries
        self._classes = classes

    def get_trainable_cls(self) -> Any:
        """Called by Tune for the resources and for the process of the trial."""
        if self.trainable_name not in self._classes:
            self._classes[self.trainable_name] = super().get_trainable_cls()
        return self._classes[self.trainable_name]

    def get_json_state(self) -> tuple[str, str]:
        """Called by Tune for its snapshot at the end, which nothing reads: the study has all of it."""
        return "{}", "{}"

    def handle_error(self, exc: Any = None) -> None:
        """Called by Tune with each failure."""
        if not self._retries.is_new(self.trial_id, exc):
            return
        counted = self.run_metadata.num_failures
        super().handle_error(exc)
        self.last_failure = Text.from_ansi(str(exc)).plain
        if self._retries.is_free(self.trial_id, self.last_failure):
            self.run_metadata.num_failures = counted

    def should_recover(self) -> bool:
        """Called by Tune after ``handle_error``."""
        return bool(super().should_recover()) and not is_permanent(self.last_failure)


def free_failures(failure: str) -> int:
    """How many failures of this kind a trial may have before they count; 0 if the failure is the trial's own."""
    if is_node_error(failure):
        return MAX_FREE_NODE_ERRORS
    return MAX_FREE_NODE_DEATHS if is_node_failure(failure) else 0
