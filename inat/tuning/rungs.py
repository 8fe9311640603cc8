"""The rungs of ASHA, as numbers; without Ray, so that also `inat watch` may ask for them."""

from dataclasses import dataclass

from analysis.rungs import rung_milestones
from inat.study.folds import step_of
from inat.study.trial import Trial


@dataclass(frozen=True, slots=True)
class Rungs:
    """ASHA's rungs: the epochs ``grace * factor**k`` below ``max_epochs``, at which ASHA compares trials.

    With several ``trainings`` per trial, these are epochs of the first one, and the end of each is a rung, too. Where
    trials are compared at equal cost, these are epochs of the recipe.
    """

    grace: int
    factor: int
    max_epochs: int
    trainings: int = 1

    @property
    def milestones(self) -> list[int]:
        """Epochs of the rungs, ascending."""
        return rung_milestones(self.grace, self.factor, self.max_epochs)

    @property
    def steps(self) -> list[int]:
        """The rungs below the end of a trial, ascending, as ``inat.study.folds.step_of`` counts."""
        return [*self.milestones, *(done * self.max_epochs for done in range(1, self.trainings))]

    def step(self, trial: Trial) -> int:
        """The step that ``trial`` has reached; 0 before its first epoch."""
        last = trial.history[-1:]  # in one step, because another thread may shorten it
        return step_of(last[0], self.max_epochs, trial.epoch_cost) if last else 0

    def reached(self, step: int) -> int:
        """Count the rungs that a trial has reached whose last row has this step, without folds its epoch."""
        return sum(rung <= step for rung in self.steps)

    def reached_by(self, trial: Trial) -> int:
        """Count the rungs that ``trial`` has reached."""
        return self.reached(self.step(trial))
