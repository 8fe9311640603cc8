"""Makes Tune's trials out of what a searcher suggests."""

from collections.abc import Callable, Collection
from typing import Any, Protocol, Self

from ray.tune.experiment import Experiment
from ray.tune.search.search_algorithm import SearchAlgorithm

from inat.errors import StudyError
from inat.tuning.ray_backend.placement import UsableNodes
from inat.tuning.ray_backend.retries import RetryPolicy, StudyTrial
from inat.tuning.ray_backend.snapshots import NotInSnapshots
from inat.tuning.space.names import ADDED


class TrialSource(Protocol):
    """Suggests configurations; each becomes a trial of the study before it becomes one of Tune's."""

    def next_trial_id(self) -> str:
        """Return the id of the trial that ``suggest`` returns next."""
        ...

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        """Return the settings of the next trial, None if there is none."""
        ...

    def requeue_unfinished(self) -> Self:
        """Suggest the unfinished trials of the study again, before new ones; call it only while none is running."""
        ...

    def requeue(self, trial_id: str) -> None:
        """Suggest a trial again that Tune gave up, before new ones."""
        ...


class StudyTrials(NotInSnapshots, SearchAlgorithm):
    """Hands ``count`` trials to Tune under the ids of the study, so that rungs, checkpoints and tables share them.

    ``capacity`` is called before each trial; it returns how many trials fit on the nodes that are up. With none, one
    trial waits for a node. ``resources`` says what each trial needs and where it may run.
    ``names`` are the hyperparameters that a trial may have: with any other name, the journal of somebody else's study
    would decide about the settings that all trials share.
    """

    def __init__(
        self,
        source: TrialSource,
        count: int,
        capacity: Callable[[], int],
        resources: UsableNodes,
        retries: RetryPolicy,
        names: Collection[str],
    ) -> None:
        self._source, self._count, self._capacity = source, count, capacity
        self._resources, self._retries, self._names = resources, retries, names
        self._spec: dict[str, Any] = {}
        self._created = 0
        self._exhausted = False
        self._live: set[str] = set()
        self._classes: dict[str, Any] = {}

    @property
    def total_samples(self) -> int:
        """Number of trials that Tune is going to have."""
        return self._count

    def add_configurations(self, experiments: list[Experiment]) -> None:
        """Take over the settings of Tune's experiment; Tune calls it once."""
        (experiment,) = experiments
        self._spec = experiment.spec

    def is_finished(self) -> bool:
        return bool(super().is_finished()) or self._created >= self._count or self._exhausted

    def next_trial(self) -> StudyTrial | None:
        """Return the next trial, None while as many are running as fit; StudyError for one with other settings."""
        if self.is_finished() or len(self._live) >= max(1, self._capacity()):
            return None
        trial_id = self._source.next_trial_id()
        suggested = self._source.suggest(trial_id)
        if suggested is None:
            # Else Tune would ask again for ten minutes if nothing is running, and look at no time budget meanwhile.
            self._exhausted = True
            return None
        if others := sorted(suggested.keys() - ADDED - set(self._names)):
            raise StudyError(
                f"{trial_id} has {', '.join(others)}, which the search has not chosen; restore the journal of its "
                "study from a copy, or start a new study"
            )
        self._created += 1
        self._live.add(trial_id)
        return StudyTrial(
            self._spec["run"],
            config=self._spec["config"] | suggested,
            trial_id=trial_id,
            storage=self._spec["storage"],
            evaluated_params=suggested,
            experiment_tag=trial_id,
            placement_group_factory=self._resources,
            checkpoint_config=self._spec["checkpoint_config"],
            trial_dirname_creator=lambda trial: trial.trial_id,
            retries=self._retries,
            classes=self._classes,
        )

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        self._live.discard(trial_id)

    def requeue(self, trial_id: str) -> None:
        """Hand a trial to Tune once more after Tune gave it up."""
        self._source.requeue(trial_id)
        self._created -= 1
        self._exhausted = False
