"""The trials that Tune runs, made of what our searcher suggests."""

import copy
import re
from pathlib import Path
from typing import Any, Protocol, Self

from ray.tune.experiment import Trial as TuneTrial
from ray.tune.experiment.config_parser import _create_trial_from_spec
from ray.tune.search import ConcurrencyLimiter, SearchGenerator
from rich.text import Text

from inat import errors


class TrialSource(Protocol):
    """A searcher of Tune's that makes the study's trials, each before Tune has its own."""

    def next_trial_id(self) -> str:
        """The id under which the next suggestion will be run."""
        ...

    def requeue_unfinished(self) -> Self:
        """Hand out the study's unfinished trials, of which none is running now, before new ones."""
        ...

    def requeue(self, trial_id: str) -> None:
        """Hand out a trial again that Tune has given up, before new ones."""
        ...


class StudyTrials(SearchGenerator):
    """Creates Tune's trials under the study's own ids, which rungs, checkpoints and tables then share."""

    def __init__(self, searcher: TrialSource, max_concurrent: int) -> None:
        super().__init__(ConcurrencyLimiter(searcher, max_concurrent=max_concurrent))
        self._study_search = searcher

    def resize(self, count: int, most: int | None = None) -> None:
        """Run ``count`` trials at a time from now on, but at least one and not above ``most``.

        Those that are running go on. With none that can run, one waits for a machine.
        """
        self.searcher.max_concurrent = max(1, min(count, most or count))

    def requeue(self, trial_id: str) -> None:
        """Make Tune another trial of one that it has given up; its process died between two trials."""
        self._study_search.requeue(trial_id)
        self._counter -= 1

    def create_trial_if_possible(self, experiment_spec: dict[str, Any]) -> TuneTrial | None:
        """The next trial, None while as many as allowed are running (Tune's own, but for the id)."""
        trial_id = self._study_search.next_trial_id()
        suggested = self.searcher.suggest(trial_id)
        if suggested is None:
            return None
        spec = copy.copy(experiment_spec)
        spec["config"] = experiment_spec["config"] | suggested
        self._counter += 1
        trial = _create_trial_from_spec(
            spec, self._parser, evaluated_params=suggested, experiment_tag=trial_id, trial_id=trial_id
        )
        trial.__class__ = StudyTrial  # Tune makes its own and asks nobody before it tries again
        return trial

    def save_to_dir(self, dirpath: str, session_str: str) -> None:
        """Nothing: see ``BudgetAwareOptunaSearch.save``."""


_OF_THE_MACHINE = errors.NodeError.__name__
_OURS = "|".join(n for n, kind in vars(errors).items() if isinstance(kind, type) and n != _OF_THE_MACHINE)
_SAID_BY_US = re.compile(rf"^(?:inat\.errors\.)?(?:{_OURS}): ", re.MULTILINE)
_ACCUSES = re.compile(rf"^(?:inat\.errors\.)?{_OF_THE_MACHINE}: ", re.MULTILINE)

# A machine without this package, or with another one: the process there cannot even load the trial.
_NOT_INSTALLED = re.compile(r"^ModuleNotFoundError: No module named 'inat['.]", re.MULTILINE)
# Ray's words for the death of a process that went with its machine, or cannot be reached there. They count only before
# the traceback, which may quote anything; in it, Ray's own exceptions do.
_LOST = re.compile(
    r"node has died|node died|node was (?:marked )?dead|NODE_DIED|raylet (?:has )?died|^The actor \w+ is unavailable: ",
    re.MULTILINE,
)
_TRACEBACK = re.compile(r"ray::|^Traceback ", re.MULTILINE)
_RAISED = re.compile(r"^ray\.exceptions\.(?:NodeDied|ActorUnavailable|LocalRayletDied)Error\b", re.MULTILINE)
MOST_LOSSES = 10  # of machines under one trial: it may be the trial that kills them
MOST_ACCUSED = 3  # machines by one trial: what it finds wrong everywhere is wrong with itself


class StudyTrial(TuneTrial):
    """Tune's trial, but not tried again where that cannot help, and not blamed for what its machine did."""

    losses = 0

    def handle_error(self, exc: Any = None) -> None:
        """Called by Tune with each failure, with the death of a process twice: for it, and for the call it was in."""
        if exc is not None and getattr(self.temporary_state, "last_failure", None) is exc:
            return
        self.temporary_state.last_failure = exc  # is not part of Tune's snapshots
        before = self.run_metadata.num_failures
        super().handle_error(exc)
        if self.losses < free_retries(str(exc)):
            self.losses += 1
            self.run_metadata.num_failures = before

    def should_recover(self) -> bool:
        """Asked by Tune behind every failure, once it has written it down."""
        return bool(super().should_recover()) and not is_permanent(last_failure(self))


def free_retries(failure: str) -> int:
    """After how many losses a failure like this counts against --max-failures: at once if it is the trial's own."""
    if _ACCUSES.search(failure):
        return MOST_ACCUSED
    return MOST_LOSSES if is_node_failure(failure) else 0


def is_node_failure(failure: str) -> bool:
    """Whether a trial failed because its machine died, cannot be reached, or lacks what trials need."""
    if any(words.search(failure) for words in (_ACCUSES, _NOT_INSTALLED, _RAISED)):
        return True
    return _LOST.search(_TRACEBACK.split(failure, maxsplit=1)[0]) is not None


def is_permanent(failure: str) -> bool:
    """Whether the trial would fail again: it ended with an error that is written for the user to act on.

    Behind a machine's fault stands the error that it was concluded from, which is no obstacle elsewhere.
    """
    return not is_node_failure(failure) and _SAID_BY_US.search(failure) is not None


def last_failure(trial: TuneTrial) -> str:
    """What Tune wrote down about the trial's last failure: a traceback, or why its process died."""
    # Not trial.get_error(): it looks in the storage, where Tune copies the file only when the search has ended.
    path = trial.error_file
    text = Path(path).read_text(errors="replace") if path and Path(path).exists() else ""
    plain = Text.from_ansi(text).plain  # Ray colours its tracebacks
    return plain.rpartition("Failure # ")[2].partition("\n")[2]  # later attempts are appended behind such a line


def reason_of(failure: str) -> str:
    """One line of a failure: the exception behind a traceback, else the first sentence about the dead process."""
    lines = [line.strip() for line in failure.splitlines() if line.strip()]
    if not lines:
        return "no reason known"
    return lines[-1] if any("Traceback" in line or line.startswith("ray::") for line in lines) else lines[0]
