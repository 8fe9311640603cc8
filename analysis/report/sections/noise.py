"""The section about the noise of the validation: which trials cannot be told from the best one."""

from pathlib import Path

import pandas as pd

from analysis.noise import Noise, noise_of
from analysis.report.document import Item, Section, Table, section
from analysis.report.headline import best_trial
from analysis.side_by_side.evaluations import read_best_json
from analysis.study import StudyData

SHOWN = 30  # rows of the table: the trials nearest to the best one
HOW_TO_READ = (
    "Trials whose answers are kept, beside their checkpoints, are compared photo by photo with McNemar's exact test. "
    "Of the other trials only the accuracy is known: their interval is that of two shares, which is wider. The p "
    "values are corrected for the number of trials (Holm), each interval is for its comparison alone. It is about the "
    "trained networks; another seed of the same configuration may rank otherwise."
)


def noise_section(study: StudyData, path: Path) -> list[Section]:
    """The section; none where nothing can be said, as for other metrics than the accuracy."""
    best_json = read_best_json(path)
    noise = noise_of(study, best_json, best_trial(study, best_json))
    return [] if noise is None else [section("noise", "Trials like the best", lambda: _items(noise))]


def _items(noise: Noise) -> list[Item]:
    text = noise.describe()
    shown = nearest(noise)
    title = "The best trial against the others"
    if len(shown) < len(noise.table):
        title = f"The best trial against the {len(shown)} nearest of {len(noise.table)}"
    return [f"{text[:1].upper()}{text[1:]}.", Table("noise", title, shown, folded=True), HOW_TO_READ]


def nearest(noise: Noise, count: int = SHOWN) -> pd.DataFrame:
    """The comparisons with the best of the other trials, nearest first."""
    return noise.table.sort_values("difference", kind="stable").head(count).reset_index(drop=True)
