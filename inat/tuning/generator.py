"""The trials that Tune runs, made of what our searcher suggests."""

import copy
from typing import Any, Protocol, Self

from ray.tune.experiment import Trial as TuneTrial
from ray.tune.experiment.config_parser import _create_trial_from_spec
from ray.tune.search import ConcurrencyLimiter, SearchGenerator

from inat.tuning.failures import StudyTrial


class TrialSource(Protocol):
    """A searcher of Tune's that makes the study's trials, each before Tune has its own."""

    def next_trial_id(self) -> str:
        """The id under which the next suggestion will be run."""
        ...

    def start_over(self) -> Self:
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
