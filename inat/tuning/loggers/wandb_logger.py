"""Weights & Biases (--wandb; off by default): one run per trial, grouped by study.

The driver writes all runs, because the process of a trial may be ended at any moment. So the API key stays here.
"""

import os
import re
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING, Any, Literal

from inat.config.trial import active_params
from inat.constants import EPOCH, EPOCHS, FAILED, RUNNING, STATE
from inat.errors import ConfigError
from inat.study.study import Study
from inat.study.trial import Trial
from inat.tuning.loggers.background import BackgroundLogger

if TYPE_CHECKING:
    import wandb

PROJECT = "inat"


def check_login(mode: str) -> None:
    """Raise ConfigError if ``mode`` is online and there is no API key; call it before the search starts."""
    if mode != "online":
        return
    import wandb

    if not wandb.login(prompt=False):
        raise ConfigError("--wandb online needs an API key: run `wandb login` or set WANDB_API_KEY, or use offline")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A trial after an epoch or at its end; ``trial_id`` has the number of the attempt (``Trial.attempt_id``)."""

    trial_id: str
    name: str
    params: dict[str, Any]
    state: str
    row: dict[str, Any]


class WandbLogger(BackgroundLogger):
    """Writes the epochs and the end of each trial; mode "offline" writes to the study directory only."""

    label = "the W&B record"

    def __init__(self, study: Study, mode: Literal["offline", "online"]) -> None:
        super().__init__()
        self._study = study
        self._mode = mode
        self._runs: dict[str, wandb.Run] = {}

    def __call__(self, trial: Trial) -> None:
        row = dict(trial.history[-1]) if trial.history else {}
        self.put(Snapshot(trial.attempt_id, trial.name, active_params(trial.params), trial.state, row))

    def open(self) -> None:
        import wandb

        self._wandb = wandb

    def write(self, item: Snapshot) -> None:
        run = self._runs.get(item.trial_id) or self._start_run(item)
        if item.state == RUNNING:
            numbers = {name: value for name, value in item.row.items() if isinstance(value, Real) and name != EPOCH}
            run.log(numbers, item.row[EPOCH])
            return
        best = self._study.objective.best_column
        run.summary.update({STATE: item.state, best: item.row.get(best), EPOCHS: item.row.get(EPOCH, 0)})
        run.finish(exit_code=int(item.state == FAILED))
        del self._runs[item.trial_id]

    def _start_run(self, item: Snapshot) -> "wandb.Run":
        group = self._study.directory.name
        run = self._wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            group=group,
            name=item.name,
            id=re.sub(r"[^\w.-]", "_", f"{group}-{item.trial_id}"),  # W&B refuses some characters
            config=item.params,
            dir=self._study.directory,
            mode=self._mode,
            resume="allow",  # the trial may go on after a resume of the study
            reinit="create_new",  # several runs are open at a time
            settings=self._wandb.Settings(silent=True, console="off", x_disable_stats=True),
        )
        self._runs[item.trial_id] = run
        return run

    def close(self) -> None:
        for run in self._runs.values():
            run.finish()
