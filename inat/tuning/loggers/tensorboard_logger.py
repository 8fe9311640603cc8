"""TensorBoard event files (--tensorboard): one run per trial, with the names of history.csv.

The tab HPARAMS has one row per run, with its hyperparameters and its last metrics.
"""

import re
from numbers import Real
from typing import TYPE_CHECKING, Any, NamedTuple

from inat.config.trial import active_params
from inat.constants import EPOCH, FAILED, RUNNING, TENSORBOARD_DIR, VAL_LOSS
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
    state: str
    epoch: int
    values: dict[str, float]
    params: dict[str, Any]


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
        # TensorBoard shows the columns that the first run names, and a run has only those parameters that have an
        # effect on it. So each run names all of them.
        self._examples = {name: example_of(domain) for name, domain in study.info.get("space", {}).items()}
        self._metrics = dict.fromkeys((study.objective.best_column, study.objective.column, VAL_LOSS), 0.0)

    def __call__(self, trial: Trial) -> None:
        row = trial.history[-1] if trial.history else {}
        values = {name: float(v) for name, v in row.items() if isinstance(v, Real) and name != EPOCH}
        params = active_params(trial.params)
        self.put(Event(trial.attempt_id, trial.name, trial.state, trial.epochs, values, params))

    def open(self) -> None:
        from tensorboardX import SummaryWriter  # Ray Tune brings it along

        self._make = SummaryWriter

    def write(self, item: Event) -> None:
        if item.state != RUNNING:
            if writer := self._writers.pop(item.trial_id, None):
                writer.file_writer.add_summary(end_summary(failed=item.state == FAILED))
                writer.close()
            return
        if item.trial_id not in self._writers:
            self._writers[item.trial_id] = self._start(item)
        for name, value in item.values.items():
            self._writers[item.trial_id].add_scalar(name, value, item.epoch)

    def _start(self, item: Event) -> "SummaryWriter":
        from tensorboardX.summary import hparams

        writer = self._make(str(self._directory / folder_name(item)))
        # The run of a trial that a resumed search continues has these twice; TensorBoard takes the first ones.
        experiment, *_ = hparams(self._examples | item.params, self._metrics)
        _, start, _ = hparams(item.params, self._metrics)
        for summary in (experiment, start):
            writer.file_writer.add_summary(summary)
        return writer

    def close(self) -> None:
        for writer in self._writers.values():
            writer.close()


def example_of(domain: Any) -> Any:
    """A value of a hyperparameter as study.json describes it: a list of choices, or a range."""
    return domain[0] if isinstance(domain, list) and domain else 0.0


def end_summary(failed: bool) -> Any:
    """What ends the row of a run in the tab HPARAMS."""
    from tensorboardX.proto.api_pb2 import Status
    from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData, SessionEndInfo
    from tensorboardX.proto.summary_pb2 import Summary, SummaryMetadata

    end = SessionEndInfo(status=Status.Value("STATUS_FAILURE" if failed else "STATUS_SUCCESS"))
    content = HParamsPluginData(session_end_info=end, version=0).SerializeToString()
    metadata = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name="hparams", content=content))
    return Summary(value=[Summary.Value(tag="_hparams_/session_end_info", metadata=metadata)])
