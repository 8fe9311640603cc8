"""The model that a search ends with: its weights, and the trial that it is or repeats."""

from dataclasses import dataclass
from pathlib import Path

from inat.study.trial import Trial


@dataclass(frozen=True, slots=True)
class Model:
    """Weights, the ``trial`` that trained them, and id and name of the trial of the search that it is or repeats.

    ``refit``: the last training on training and validation images together, whose weights these are; the values of
    ``trial`` are then those of the search. ``better``: the trial of the search whose place a cheaper one took
    (--prefer-cheaper).
    """

    trial_id: str
    name: str
    trial: Trial
    weights: Path
    last: bool = False
    better: Trial | None = None
    refit: Trial | None = None

    @property
    def leader(self) -> "Model":
        """The model of the best trial: this one, unless it was chosen because it costs less."""
        better = self.better
        return self if better is None else Model(better.trial_id, better.name, better, self.weights)
