"""How long each trial took before its first epoch, which only the journal of a study directory has."""

from pathlib import Path

import pandas as pd

from analysis.files import parse_json, read_bytes
from analysis.schema import FOLD, JOURNAL, PREPARATION, TRIAL_ID


def read_preparation(study: Path) -> pd.Series:
    """The seconds that each trial took before its trainings began, by trial_id.

    Empty for a study of an earlier version or another tool, which does not record them. Of a trial that was resumed or
    retried, the last attempt counts. With folds, the times before each of the trainings add up.
    """
    try:
        lines = read_bytes(study / JOURNAL, inside=study).splitlines()
    except OSError:
        return pd.Series(dtype=float)
    found: dict[tuple[str, object], float] = {}
    for line in lines:
        if PREPARATION.encode() in line:  # one line per training; parsing all of them would take ten times as long
            try:
                event = parse_json(line)
                row = event["row"]
                found[str(event[TRIAL_ID]), row.get(FOLD)] = max(float(row[PREPARATION]), 0.0)
            except (ValueError, TypeError, LookupError, AttributeError):
                continue  # a half-written last line
    values = pd.Series(list(found.values()), index=[trial_id for trial_id, _ in found], dtype=float)
    return values.groupby(level=0).sum()
