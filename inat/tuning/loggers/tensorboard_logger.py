"""TensorBoard event files (--tensorboard): one run per trial, with the names of history.csv."""

import re
from numbers import Real
from typing import TYPE_CHECKING, NamedTuple

from inat.constants import EPOCH, RUNNING, TENSORBOARD_DIR
from inat.study.study import Study
from inat.study.trial import Trial
from inat.tuning.loggers.background import BackgroundLogger

if TYPE_CHECKING:
    from tensorboardX import SummaryWriter


MAX_NAME = 150  # characters; a name may have 255 bytes


class Event(NamedTuple):
    """The latest epoch of a trial, or its end; ``trial_id`` has the number of the attempt (``Trial.attempt_id``)."""

    trial_id: str
    name: str
    ended: bool
    epoch: int
    values: dict[str, float]


def folder_name(item: Event) -> str:
    """The folder of a run. Values of hyperparameters may contain slashes, or be longer than a file name may be."""
    return re.sub(r"[^\w.,=+-]", "_", f"{item.trial_id}-{item.name}")[:MAX_NAME]


class TensorboardLogger(BackgroundLogger):
    """Writes the epochs of each trial; `tensorboard --logdir results/STUDY/tensorboard` shows them."""

    label = TENSORBOARD_DIR

    def __init__(self, study: Study) -> None:
        super().__init__()
        self._directory = study.directory / TENSORBOARD_DIR
        self._writers: dict[str, SummaryWriter] = {}

    def __call__(self, trial: Trial) -> None:
        row = trial.history[-1] if trial.history else {}
        values = {name: float(v) for name, v in row.items() if isinstance(v, Real) and name != EPOCH}
        self.put(Event(trial.attempt_id, trial.name, trial.state != RUNNING, trial.epochs, values))

    def open(self) -> None:
        from tensorboardX import SummaryWriter  # Ray Tune brings it along

        self._make = SummaryWriter

    def write(self, item: Event) -> None:
        if item.ended:
            if writer := self._writers.pop(item.trial_id, None):
                writer.close()
            return
        if item.trial_id not in self._writers:
            self._writers[item.trial_id] = self._make(str(self._directory / folder_name(item)))
        for name, value in item.values.items():
            self._writers[item.trial_id].add_scalar(name, value, item.epoch)

    def close(self) -> None:
        for writer in self._writers.values():
            writer.close()
