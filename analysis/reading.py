"""How the commands of `python -m analysis` read a study: the options that all of them share."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from analysis.readers.frames import Mode
from analysis.study import StudyData, load_study
from analysis.terminal import PlainConsole


@dataclass(frozen=True, slots=True)
class Reading:
    """How to read a study that another program wrote."""

    metric: Annotated[str | None, "NAME"] = None
    """Metric to compare, such as val_loss; for Optuna, an objective by its index or name, or a user attribute. Default:
    the study's own metric, best_val_acc or val_acc; for Optuna, the only objective."""
    mode: Mode | None = None
    """Whether a larger or a smaller metric is better. Default: min for a loss or an error, else max; for Optuna, the
    study's direction."""
    study: Annotated[str | None, "NAME"] = None
    """Name of the study in an Optuna database. Default: the only study."""
    parameters: Annotated[tuple[str, ...] | None, "NAME ..."] = None
    """Hyperparameters to read. Default: all that vary."""

    def load(self, path: Path) -> StudyData:
        """Load the study at ``path``; print to stderr how many rows or files could not be read."""
        study = load_study(path, self.metric, self.mode, study=self.study, parameters=self.parameters)
        if count := len(study.read_errors):
            place, reason = study.read_errors.iloc[0]
            left_out = f"{count} rows or files could not be read and are left out"
            PlainConsole(stderr=True).print(f"{path}: {left_out}; the first is {place}: {reason}")
        return study


Options = Annotated[Reading, tyro.conf.OmitArgPrefixes]
AS_USUAL = Reading()
