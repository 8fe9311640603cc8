"""A study directory as pandas frames."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from inat.constants import HISTORY_CSV, STUDY_JSON, TRIAL_COLUMNS_AFTER, TRIAL_COLUMNS_BEFORE, TRIALS_CSV

BROKEN_COLUMNS = ["place", "reason"]


def _no_broken() -> pd.DataFrame:
    return pd.DataFrame(columns=BROKEN_COLUMNS)


@dataclass(frozen=True, slots=True)
class Study:
    """``trials``: one row a trial; ``history``: one row a trial and epoch; ``info``: the content of study.json.

    ``parameters``: the columns of ``trials`` that are hyperparameters; ``broken``: what could not be read.
    """

    trials: pd.DataFrame
    history: pd.DataFrame
    info: dict[str, Any]
    parameters: list[str] = field(default_factory=list)
    broken: pd.DataFrame = field(default_factory=_no_broken)


def load_study(path: str | Path) -> Study:
    """Read a study directory, also of a search that is still running.

    Raises FileNotFoundError, naming what is missing, if ``path`` is not a study directory.
    """
    directory = Path(path)
    missing = [name for name in (STUDY_JSON, TRIALS_CSV, HISTORY_CSV) if not (directory / name).is_file()]
    if missing:
        raise FileNotFoundError(f"{directory} is not a study directory: it has no {', '.join(missing)}")
    trials = pd.read_csv(directory / TRIALS_CSV, parse_dates=["created"])
    return Study(
        trials=trials,
        history=pd.read_csv(directory / HISTORY_CSV),
        info=json.loads((directory / STUDY_JSON).read_text(encoding="utf-8")),
        parameters=[name for name in trials if name not in (*TRIAL_COLUMNS_BEFORE, *TRIAL_COLUMNS_AFTER)],
    )
