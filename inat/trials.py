"""One trial of a study as far as it is known."""

from dataclasses import dataclass, field
from typing import Any

from inat.config import in_use
from inat.constants import (
    BEST_VAL_ACC,
    EPOCH,
    FINISHED,
    RUNNING,
    SECONDS,
    TRAINABLE,
    TRIAL_COLUMNS_AFTER,
    TRIAL_COLUMNS_BEFORE,
)
from inat.naming import short_name


@dataclass(slots=True)
class Trial:
    """One trial as far as it is known."""

    trial_id: str
    number: int
    params: dict[str, Any]
    created: str
    state: str = RUNNING
    node: str = ""
    error: str = ""
    history: list[dict[str, Any]] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The short name made of the hyperparameters."""
        return short_name(in_use(self.params))

    @property
    def epochs(self) -> int:
        """Epochs reached."""
        return int(self.history[-1][EPOCH]) if self.history else 0

    @property
    def best_val_acc(self) -> float | None:
        """Best validation accuracy so far, None before the first epoch."""
        return float(self.history[-1][BEST_VAL_ACC]) if self.history else None

    @property
    def trainable_parameters(self) -> int | None:
        """How many parameters the trial trains, None before the first epoch."""
        return self.history[-1].get(TRAINABLE) if self.history else None

    @property
    def seconds(self) -> float:
        """Training and validation time of the epochs in ``history``."""
        return sum(float(row.get(SECONDS) or 0) for row in self.history)

    @property
    def finished(self) -> str | None:
        """Why the trial said it was done, if it did."""
        return self.history[-1].get(FINISHED) if self.history else None

    def add_epoch(self, row: dict[str, Any]) -> None:
        """Append one epoch; a trial that was set back to a checkpoint replaces what it had reported beyond it."""
        while self.history and self.history[-1][EPOCH] >= row[EPOCH]:
            self.history.pop()
        self.history.append(row)

    def table_row(self) -> dict[str, Any]:
        """This trial as a row of trials.csv."""
        row: dict[str, Any] = {name: getattr(self, name) for name in (*TRIAL_COLUMNS_BEFORE, *TRIAL_COLUMNS_AFTER)}
        row[SECONDS] = round(self.seconds, 3)
        return in_use(self.params) | row
